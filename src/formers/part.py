"""What a part is: a frozen description of one choice in a Transformer, which builds its own module."""

from __future__ import annotations

import ast
import inspect
import math
import operator
import re
import textwrap
import types
from dataclasses import MISSING, dataclass, fields, replace
from difflib import get_close_matches
from typing import Any, ClassVar, Literal, Self, Union, dataclass_transform, get_args, get_origin, get_type_hints


class Unsupported(ValueError):
    """A combination that cannot exist. The message names both sides, the reason, and what to use instead."""


ABILITIES = {
    "causal": "output i depends on tokens up to i only",
    "bidirectional": "every token sees every other",
    "streaming": "carries a state: one pass, chunks and single steps agree",
    "padding": "masked tokens change nothing",
    "qk_position": "applies a position to queries and keys",
    "score_position": "adds a position to the scores",
    "trim": "its state can forget the last tokens of a row",
    "order_blind": "without a position, permuting the input permutes the output",
}
"""Every ability a part may declare in `Part.can`, and what it promises."""


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Part:
    """One choice in a Transformer: a frozen, keyword-only dataclass. Subclass an axis, add documented fields and `build`.

    Every subclass becomes a frozen dataclass by itself; no decorator is needed. A docstring under a field documents it:

        class Window(Mixer):
            "Softmax attention over the last `width` tokens."
            width: int = 128
            "How many tokens back a token sees, itself included."

    The text form (`str(part)`, `repr(part)`) lists the options that differ from their defaults (where options may be given by
    their order, the first one always, without its name) and parses back to an equal part; the JSON form lists every option, so that a saved model does not change when a default does.
    """

    can: ClassVar[frozenset[str]] = frozenset()
    "What the part can do: keys of `ABILITIES`. Errors, laws and documentation are made from it."
    axis: ClassVar[type[Part]]
    "The axis a part belongs to: the direct subclass of `Part` it descends from."
    positional: ClassVar[bool] = False
    "Whether options may be given by their order, too: `Window(128)`. An axis decides for all its members."

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if unknown := cls.can - ABILITIES.keys():
            raise TypeError(f"{cls.__name__} declares unknown abilities {sorted(unknown)}; known: {sorted(ABILITIES)}")
        dataclass(frozen=True, kw_only=not cls.positional, repr=False)(cls)  # type: ignore[call-overload]
        if Part in cls.__bases__:
            cls.axis = cls

    def __new__(cls, *args: object, **options: object) -> Self:
        """Checks the names of the options before the dataclass sees them, to suggest the nearest right one."""
        check_names(cls.name(), options, option_names(cls))
        if args and not cls.positional:
            raise TypeError(f"{cls.name()} takes named options only; write {example_call(cls)}")
        if len(args) > len(option_names(cls)):
            raise TypeError(
                f"{cls.name()} takes {len(option_names(cls))} options, but {len(args)} were given; write {example_call(cls)}"
            )
        return super().__new__(cls)

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for field in fields(self):  # type: ignore[arg-type]
            value = accept(getattr(self, field.name), hints[field.name])
            if value is MISMATCH:
                given = getattr(self, field.name)
                raise TypeError(
                    f"{self.name()}: option {field.name} must be {describe(hints[field.name])}, "
                    f"but {given!r} ({type(given).__name__}) was given"
                )
            object.__setattr__(self, field.name, value)
        self.check()

    def check(self) -> None:
        """Raises `ValueError` for option values that cannot work. Overridden where there are any."""

    @classmethod
    def name(cls) -> str:
        """The part's name in text: the class name in snake case."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    @classmethod
    def kinds(cls) -> tuple[type[Self], ...]:
        """Every member of this axis that has been imported and can be built, in order of definition."""
        found: list[type[Self]] = []
        for kind in cls.__subclasses__():
            found += [kind, *kind.kinds()] if not kind.__name__.startswith("_") else kind.kinds()
        return tuple(dict.fromkeys(found))

    def swap(self, **options: Any) -> Self:
        """The same part with some options changed; an unknown option raises."""
        check_names(self.name(), options, option_names(type(self)))
        return replace(self, **options)  # type: ignore[type-var]

    def require(self, *abilities: str, why: str = "", instead: str = "") -> None:
        """Raises `Unsupported` unless the part has every named ability."""
        missing = [ability for ability in abilities if ability not in self.can]
        if missing:
            promise = "; ".join(f"{ability}: {ABILITIES[ability]}" for ability in missing)
            raise Unsupported(
                f"{self} cannot be {' or '.join(missing)} ({promise})"
                + (f"; {why}" if why else "")
                + (f". Use {instead} instead" if instead else "")
            )

    def __repr__(self) -> str:
        shown = [f for f in fields(self) if default_of(f) is MISSING or getattr(self, f.name) != default_of(f)]  # type: ignore[arg-type]
        changed = [f"{f.name}={value_text(getattr(self, f.name))}" for f in shown]
        if self.positional and (first := fields(self)[:1]):  # type: ignore[arg-type]
            changed = [value_text(getattr(self, first[0].name)), *changed[first[0] in shown :]]
        return f"{self.name()}({', '.join(changed)})"

    def to_json(self) -> dict[str, Any]:
        """`{"part": name, option: value, …}` with every option, defaults too."""
        return {"part": self.name()} | {f.name: value_json(getattr(self, f.name)) for f in fields(self)}  # type: ignore[arg-type]

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """The part that `to_json` described. Called on an axis, it finds the member by its name."""
        if not isinstance(data, dict) or not isinstance(data.get("part"), str):
            raise ValueError(f'expected {{"part": name, option: value, …}} for a {cls.name()}, but {data!r} was given')
        kind = find(cls, data["part"])
        hints = get_type_hints(kind)
        options = {key: value for key, value in data.items() if key != "part"}
        check_names(kind.name(), options, option_names(kind))
        return kind(**{key: json_value(value, hints[key]) for key, value in options.items()})

    @classmethod
    def parse(cls, text: str) -> Self:
        """The part that a text like `performer(features=256)` means. Literals and part names only; nothing is run."""
        try:
            tree = ast.parse(KEYWORD.sub(r"\1_", text.strip()), mode="eval").body
        except SyntaxError as error:
            raise ValueError(f"cannot read {text!r} as a {cls.name()}: {error.msg}; {example(cls)}") from None
        part = node_value(tree, cls, text)
        if not isinstance(part, cls):
            raise ValueError(f"{text!r} is not a {cls.name()}; {example(cls)}")
        return part

    @classmethod
    def option_docs(cls) -> dict[str, str]:
        """What each option means: the docstrings under the fields, inherited ones too."""
        docs: dict[str, str] = {}
        for kind in reversed(cls.__mro__):
            if issubclass(kind, Part) and kind is not Part:
                docs |= docs_in_source(kind)
        return {name: docs.get(name, "") for name in option_names(cls)}


def find(axis: type[Part], name: str) -> type[Any]:
    """The member of an axis with this name (`squared_relu` or `SquaredRelu`); an unknown one raises with the nearest."""
    kinds = axis.kinds() or (axis,)
    for kind in (axis, *kinds):
        if name.rstrip("_") in (kind.name(), kind.__name__) and not (Part in kind.__bases__ and kind.kinds()):
            return kind
    check_names(axis.name(), [name], [kind.name() for kind in kinds], word="member")
    raise ValueError(f"{name} is an axis, not a part; {example(axis)}")


def check_names(owner: str, given: Any, known: list[str], word: str = "option") -> None:
    """Raises for the first given name that is not known, with the nearest that is."""
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known) or 'none'}"
            raise (TypeError if word == "option" else ValueError)(f"{owner} has no {word} {name!r}; {hint}")


def option_names(kind: type[Part]) -> list[str]:
    return [f.name for f in fields(kind)]  # type: ignore[arg-type]


def default_of(field: Any) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def example_call(kind: type[Part]) -> str:
    return f"{kind.name()}({', '.join(f'{name}=…' for name in option_names(kind))})"


def example(axis: type[Part]) -> str:
    return (
        f"write one of {', '.join(sorted(kind.name() for kind in axis.kinds()))}, with options as in name(option=value)"
    )


# --- types of options: checked when a part is made, used again when one is read from text or JSON ---

MISMATCH = object()


def alternatives(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def accept(value: Any, hint: Any) -> Any:
    """The value as the hint wants it (an int becomes a float, a list a tuple), or `MISMATCH`."""
    for option in alternatives(hint):
        origin = get_origin(option)
        if origin is Literal:
            if value in get_args(option):
                return value
        elif origin is tuple:
            if isinstance(value, (tuple, list)):
                inner = [accept(item, get_args(option)[0]) for item in value]
                if MISMATCH not in inner:
                    return tuple(inner)
        elif option is type(None):
            if value is None:
                return None
        elif option is float:
            if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
                return float(value)
        elif option is int:
            if isinstance(value, int) and not isinstance(value, bool):
                return value
        elif isinstance(option, type) and isinstance(value, option):
            return value
    return MISMATCH


def describe(hint: Any) -> str:
    """A type hint in words."""
    words = []
    for option in alternatives(hint):
        if get_origin(option) is Literal:
            words.append("one of " + ", ".join(map(repr, get_args(option))))
        elif get_origin(option) is tuple:
            words.append(f"a list of {describe(get_args(option)[0])}")
        elif isinstance(option, type) and issubclass(option, Part):
            words.append(f"a {option.name()} ({', '.join(kind.name() for kind in option.kinds())})")
        else:
            words.append({type(None): "None", float: "finite float"}.get(option, option.__name__))
    return " or ".join(words)


# --- text and JSON ---

OPERATORS: dict[type[ast.AST], Any] = {ast.BitAnd: operator.and_, ast.BitOr: operator.or_, ast.Invert: operator.invert}
"""What may stand between parts of an axis that defines it, as patterns do: `window(128) | global(0)`."""
KEYWORD = re.compile(r"\b(global)\b(?=\s*(?:$|[(),|&\]]))")
"""Names of parts that are keywords of Python, which parses the text."""


def value_text(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(value_text, value)) + "]"
    return repr(value)


def value_json(value: Any) -> Any:
    if isinstance(value, Part):
        return value.to_json()
    return [value_json(item) for item in value] if isinstance(value, (tuple, list)) else value


def json_value(value: Any, hint: Any) -> Any:
    """A JSON value as the hint wants it; dictionaries become parts of the hinted axis."""
    if isinstance(value, dict):
        return part_hint(hint).from_json(value)
    return tuple(json_value(item, hint) for item in value) if isinstance(value, list) else value


def part_hint(hint: Any) -> type[Part]:
    """The axis that a hint names, also inside a tuple or a union."""
    for option in alternatives(hint):
        if isinstance(option, type) and issubclass(option, Part):
            return option
        if get_origin(option) is tuple:
            return part_hint(get_args(option)[0])
    return Part


def node_value(node: ast.AST, hint: Any, text: str) -> Any:
    """The value of a parsed expression: a part, a list of values, or a literal."""
    axis = part_hint(hint)
    if isinstance(node, ast.Name) and axis is not Part:
        return find(axis, node.id)()
    if isinstance(node, ast.Name):  # a bare word where text is wanted: mlp(activation=gelu)
        return node.id
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and axis is not Part:
        kind = find(axis, node.func.id)
        if node.args and (not kind.positional or len(node.args) > len(option_names(kind))):
            raise ValueError(f"{ast.unparse(node)}: options are named; write {example_call(kind)}")
        given = dict(zip(option_names(kind), node.args, strict=False))
        given |= {word.arg: word.value for word in node.keywords if word.arg}
        check_names(kind.name(), given, option_names(kind))
        hints = get_type_hints(kind)
        return kind(**{name: node_value(value, hints[name], text) for name, value in given.items()})
    if isinstance(node, (ast.BinOp, ast.UnaryOp)) and type(node.op) in OPERATORS and axis is not Part:
        sides = [node.operand] if isinstance(node, ast.UnaryOp) else [node.left, node.right]
        values = [node_value(side, hint, text) for side in sides]
        try:
            return OPERATORS[type(node.op)](*values)
        except TypeError:
            raise ValueError(f"in {text!r}: a {axis.name()} has no {ast.unparse(node)!r}") from None
    if isinstance(node, (ast.List, ast.Tuple)):
        return tuple(node_value(item, hint, text) for item in node.elts)
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise ValueError(f"in {text!r}: {ast.unparse(node)!r} is neither a literal nor a part") from None


def docs_in_source(kind: type[Part]) -> dict[str, str]:
    """The string literal under each annotated field of a class, read from its source."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(tree, ast.ClassDef)
    docs = {}
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            docs[field.target.id] = inspect.cleandoc(str(getattr(text.value, "value", "")))
    return docs
