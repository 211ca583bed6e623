"""The text form of parts: `performer(features=256)`, literals and part names only; nothing is run."""

from __future__ import annotations

import ast
import operator
import re
from typing import Any, get_type_hints

from formers.part.member import Member, example, example_call, find, option_names
from formers.part.option_types import part_hint
from formers.part.unsupported import check_names

_OPERATORS: dict[type[ast.AST], Any] = {ast.BitAnd: operator.and_, ast.BitOr: operator.or_, ast.Invert: operator.invert}
"""Operators between parts of an axis that defines them, as patterns do: `window(128) | global(0)`."""
_KEYWORD = re.compile(r"\b(global)\b(?=\s*(?:$|[(),|&\]]))")
"""Names of parts that are keywords of Python, which parses the text."""


def value_text(value: Any) -> str:
    """Return an option's value in text: a tuple as `[a, b]`, anything else as its repr."""
    if isinstance(value, tuple):
        return "[" + ", ".join(map(value_text, value)) + "]"
    return repr(value)


def parse_part(axis: type[Member], text: str) -> Any:
    """Return the part of an axis that a text means.

    Raise ValueError or TypeError with what is wrong and what to write.
    """
    try:
        tree = ast.parse(_KEYWORD.sub(r"\1_", text.strip()), mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"cannot read {text!r} as a {axis.name()}: {error.msg}; {example(axis)}") from None
    part = _value(tree, axis, text)
    if not isinstance(part, axis):
        raise ValueError(f"{text!r} is not a {axis.name()}; {example(axis)}")
    return part


def _value(node: ast.AST, hint: Any, text: str) -> Any:
    """Return the value of a parsed expression: a part, a list of values, or a literal."""
    axis = part_hint(hint)
    if axis is not Member:
        if isinstance(node, ast.Name):
            return find(axis, node.id)()
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return _called(node, find(axis, node.func.id), text)
        if isinstance(node, (ast.BinOp, ast.UnaryOp)) and type(node.op) in _OPERATORS:
            return _combined(node, hint, text)
    if isinstance(node, ast.Name):  # a bare word where text is wanted: mlp(activation=gelu)
        return node.id
    if isinstance(node, (ast.List, ast.Tuple)):
        return tuple(_value(item, hint, text) for item in node.elts)
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise ValueError(f"in {text!r}: {ast.unparse(node)!r} is neither a literal nor a part") from None


def _called(node: ast.Call, kind: type[Any], text: str) -> Any:
    """Return the part that a call like `window(128, dilation=2)` means."""
    if node.args and (not kind.positional or len(node.args) > len(option_names(kind))):
        raise ValueError(f"{ast.unparse(node)}: options are named; write {example_call(kind)}")
    given = dict(zip(option_names(kind), node.args, strict=False))
    given |= {word.arg: word.value for word in node.keywords if word.arg}
    check_names(kind.name(), given, option_names(kind))
    hints = get_type_hints(kind)
    return kind(**{name: _value(value, hints[name], text) for name, value in given.items()})


def _combined(node: ast.BinOp | ast.UnaryOp, hint: Any, text: str) -> Any:
    """Return what an operator makes of the parts beside it."""
    sides = [node.operand] if isinstance(node, ast.UnaryOp) else [node.left, node.right]
    values = [_value(side, hint, text) for side in sides]
    try:
        return _OPERATORS[type(node.op)](*values)
    except TypeError:
        raise ValueError(f"in {text!r}: a {part_hint(hint).name()} has no {ast.unparse(node)!r}") from None
