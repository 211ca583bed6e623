"""The text form of parts: `performer(features=256)`, literals and part names only; nothing is run.

    either := both ('|' both)*            where the axis of the parts defines the operators, as patterns do
    both   := one ('&' one)*
    one    := '~' one | '(' either ')' | name | name '(' options ')' | '[' items ']' | literal
    option := name '=' either | either    by their order where the axis allows it, before those with a name

A literal is a number, a text in quotes as Python writes it, True, False or None; `true`, `false`, `none` and `null` are
read as these where the option takes them. A bare word is a text: `mlp(activation=gelu)`.
"""

from __future__ import annotations

import ast
import operator
import warnings
from types import NoneType
from typing import Any

from formers.part.annotations import option_hints
from formers.part.member import Member, axis_of, example, example_call, find_beside, made, option_names
from formers.part.nesting import DEEPEST, check_nesting, too_deep
from formers.part.option_types import alternatives, part_hint
from formers.part.quoted import quoted
from formers.part.tokens import Token, tokens
from formers.part.unsupported import check_names

_CONSTANTS = {"True": True, "False": False, "None": None}
_WORDS = {"true": (bool, True), "false": (bool, False), "none": (NoneType, None), "null": (NoneType, None)}
"""Words of other languages → the type that an option must take for them to be read so, and the value."""


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
        part = _Reader(text, axis).whole()
        check_nesting(part)
    except _CannotRead as error:
        raise ValueError(f"cannot read {quoted(text)} as a {axis.name()}: {error}; {example(axis)}") from None
    if not isinstance(part, axis):
        raise ValueError(f"{quoted(text)} is not a {axis.name()}; {example(axis)}")
    return part


def parse_value(hint: Any, text: str) -> Any:
    """Return the value that a text means for an option of this type. Raise ValueError for a text that means none."""
    try:
        return _Reader(text, hint).whole()
    except _CannotRead as error:
        raise ValueError(f"cannot read {quoted(text)}: {error}") from None


class _CannotRead(ValueError):
    """The reason why a text cannot be read."""


class _Reader:
    """Reads one text from left to right. `depth` counts the brackets that are open, and the `~` before them."""

    def __init__(self, text: str, hint: Any) -> None:
        if not isinstance(text, str):
            raise _CannotRead(f"a text is expected, not {type(text).__name__}")
        self.tokens, self.hint = tokens(text), hint
        self.place = self.depth = 0

    def whole(self) -> Any:
        """Return the value of the whole text."""
        value = self.either(self.hint)
        if self.next.kind != "end":
            self.fail("expected the end")
        return value

    def either(self, hint: Any) -> Any:
        value = self.both(hint)
        while self.takes("|"):
            value = self.combined("|", operator.or_, hint, value, self.both(hint))
        return value

    def both(self, hint: Any) -> Any:
        value = self.one(hint)
        while self.takes("&"):
            value = self.combined("&", operator.and_, hint, value, self.one(hint))
        return value

    def one(self, hint: Any) -> Any:
        """Return the value of what stands between operators."""
        token = self.take()
        if token.text == "~":
            return self.combined("~", operator.invert, hint, self.inside(self.one, hint))
        if token.text in ("(", "["):
            return self.inside(self.bracketed, hint, token.text)
        if token.text == "{":
            return self.inside(self.dictionary)
        if token.text in ("+", "-") and self.next.kind == "number":
            return self.number(token.text, self.take())
        if token.kind == "number":
            return self.number("", token)
        if token.kind == "text":
            return self.quoted(token)
        if token.kind == "word":
            return self.word(token, hint)
        self.place -= 1
        return self.fail("expected a value")

    def word(self, token: Token, hint: Any) -> Any:
        """Return the part of this name, or the constant, or the word as a text."""
        if token.text in _CONSTANTS:
            return _CONSTANTS[token.text]
        axis = part_hint(hint)
        if axis is not Member:
            kind = find_beside(axis, token.text)
            return made(kind, self.inside(self.options, kind) if self.takes("(") else {})
        wanted, constant = _WORDS.get(token.text, (Member, None))
        if wanted in alternatives(hint):
            return constant
        if self.next.text == "(":
            raise _CannotRead(f"{quoted(token.text)} before ( at character {token.start + 1} is not a part here")
        return token.text

    def options(self, kind: type[Any]) -> dict[str, Any]:
        """Return the options in the brackets after a part's name."""
        names, hints, given = option_names(kind), option_hints(kind), dict[str, Any]()
        in_order = True
        while not self.takes(")"):
            named = self.next.kind == "word" and self.tokens[self.place + 1].text == "="
            in_order = in_order and not named
            if not named and not (in_order and kind.positional and len(given) < len(names)):
                self.refuse_unnamed(kind)
            name = self.option_name() if named else names[len(given)]
            check_names(kind.name(), [name], names)
            if name in given:
                raise _CannotRead(f"option {name} of {kind.name()} is given twice")
            given[name] = self.either(hints[name])
            if self.next.text != ")":
                self.expect(",", "or )")
        return given

    def option_name(self) -> str:
        """Return the name before `=`."""
        name = self.take().text
        self.take()
        return name

    def refuse_unnamed(self, kind: type[Any]) -> None:
        """Raise for an option without a name, where it needs one, and for what is no option."""
        if self.next.kind not in ("word", "number", "text") and self.next.text not in ("(", "[", "{", "-", "+", "~"):
            self.fail("expected an option")
        if kind.positional and not option_names(kind):
            raise _CannotRead(f"{kind.name()} has no options")
        raise _CannotRead(f"options are named; write {example_call(kind)}")

    def bracketed(self, hint: Any, opened: str) -> Any:
        """Return the items up to the closing bracket as a tuple, or the one value in round brackets."""
        closing = ")" if opened == "(" else "]"
        items, commas = [], 0
        while not self.takes(closing):
            items.append(self.either(hint))
            if self.next.text != closing:
                self.expect(",", f"or {closing}")
                commas += 1
        return items[0] if opened == "(" and len(items) == 1 and not commas else tuple(items)

    def dictionary(self) -> dict[Any, Any]:
        """Return the items up to the closing brace."""
        items: dict[Any, Any] = {}
        while not self.takes("}"):
            key = self.one(object)
            self.expect(":", "after a key")
            if isinstance(key, (dict, tuple)) or key in items:
                raise _CannotRead(f"key {quoted(key)} is given twice, or is none")
            items[key] = self.either(object)
            if self.next.text != "}":
                self.expect(",", "or }")
        return items

    def number(self, sign: str, token: Token) -> int | float:
        """Return the number that a token means."""
        try:
            value = ast.literal_eval(token.text)
        except (ValueError, SyntaxError, MemoryError):  # SyntaxError also for thousands of digits
            value = None
        if not isinstance(value, (int, float)):
            raise _CannotRead(f"{quoted(token.text)} is not a number that can be read; a text is written in quotes")
        return -value if sign == "-" else value

    def quoted(self, token: Token) -> str:
        """Return the text that stands in quotes."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # an unknown escape is a warning of Python's
                return str(ast.literal_eval(token.text))
        except (ValueError, SyntaxError) as error:
            raise _CannotRead(f"{quoted(token.text)}: {error}; write \\\\ for a backslash") from None

    def combined(self, sign: str, combine: Any, hint: Any, *values: Any) -> Any:
        """Return what an operator makes of the parts beside it."""
        axis = axis_of(part_hint(hint))
        if axis is Member or not all(isinstance(value, axis) for value in values):
            raise _CannotRead(f"{sign} stands between parts only")
        try:
            return combine(*values)
        except TypeError:
            raise _CannotRead(f"a {axis.name()} has no {sign!r}") from None

    def inside(self, read: Any, *given: Any) -> Any:
        """Return what `read` reads one level deeper."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise too_deep()
        value = read(*given)
        self.depth -= 1
        return value

    @property
    def next(self) -> Token:
        """The token that comes next."""
        return self.tokens[self.place]

    def take(self) -> Token:
        """Return the next token and go on behind it; the end stays."""
        token = self.next
        self.place += token.kind != "end"
        return token

    def takes(self, sign: str) -> bool:
        """Go on behind a sign if it comes next, and return whether it did."""
        found = self.next.kind == "sign" and self.next.text == sign
        self.place += found
        return found

    def expect(self, sign: str, more: str) -> None:
        if not self.takes(sign):
            self.fail(f"expected {sign} {more}")

    def fail(self, expected: str) -> Any:
        """Raise for the next token, with what was expected instead."""
        token = self.next
        if token.kind == "end":
            raise _CannotRead(f"{expected}, but the text ends")
        if token.kind == "open":
            raise _CannotRead(f"the quote at character {token.start + 1} is left open")
        hint = "; a text with signs in it is written in quotes" if token.kind == "other" else ""
        raise _CannotRead(f"{expected} at character {token.start + 1}, but {quoted(token.text)} stands there{hint}")
