"""Values that a search draws for an option: lists, ranges of numbers, and parts with such values in their brackets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from formers.lab.study.choices import split_top_level
from formers.part import quoted
from formers.part.tokens import Token, tokens

_WHOLE = re.compile(r"[0-9]+(_[0-9]+)*")
_DIGITS = 4
"""Significant digits of a number that is drawn: it is trained with what its row shows."""


class Draws(Protocol):
    """Draws values by name, as a trial of Optuna does."""

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> str:
        """Return one of the choices."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """Return a whole number from `low` to `high`, both included."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Return a number from `low` to `high`."""


@dataclass(frozen=True)
class NumberRange:
    """Numbers from `low` to `high`, both included: whole ones where both ends are `int`; evenly over logarithms."""

    name: str
    low: float
    high: float
    log: bool = False

    def draw(self, draws: Draws) -> str:
        """Return a number as text."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return str(draws.suggest_int(self.name, self.low, self.high, log=self.log))
        return f"{draws.suggest_float(self.name, float(self.low), float(self.high), log=self.log):.{_DIGITS}g}"

    def extremes(self) -> list[str]:
        """Return both ends."""
        return [f"{end}" for end in (self.low, self.high)]


@dataclass(frozen=True)
class ListedValues:
    """One of several values, each of which may have values to draw inside."""

    name: str
    values: tuple[ValueText, ...]

    def draw(self, draws: Draws) -> str:
        """Return one of the values as text, with all that is in it drawn."""
        if len(self.values) == 1:
            return self.values[0].draw(draws)
        chosen = draws.suggest_categorical(self.name, [value.text for value in self.values])
        return next(value for value in self.values if value.text == chosen).draw(draws)

    def extremes(self) -> list[str]:
        """Return every value, with the ends of the ranges inside."""
        return [text for value in self.values for text in value.extremes()]


Searched: TypeAlias = NumberRange | ListedValues


@dataclass(frozen=True)
class ValueText:
    """A value as text, `performer(features=8..64)`: pieces that stand, and between them values that are drawn."""

    text: str
    pieces: tuple[str | Searched, ...]

    def draw(self, draws: Draws) -> str:
        """Return the text with every value in it drawn."""
        return "".join(piece if isinstance(piece, str) else piece.draw(draws) for piece in self.pieces)

    def extremes(self) -> list[str]:
        """Return texts in which every value to draw comes with each of its extremes."""
        ends = [[piece] if isinstance(piece, str) else piece.extremes() for piece in self.pieces]
        return ["".join(end[min(k, len(end) - 1)] for end in ends) for k in range(max(map(len, ends)))]


def parse_values(name: str, text: str) -> Searched:
    """Return the values that a text means: `softmax, linear`, `1..6`, `log(1e-4..1e-2)`, `performer(features=8..64)`.

    A range between whole numbers is of whole numbers: `0..1` are two, and `0.0..1.0` all between. In brackets,
    `{elu, relu}` is a list, since commas divide options there.

    Raises:
        ValueError: for a single value, one that comes twice, and a range that is none.
    """
    names = _Names(name)
    values = tuple(_parse_text(piece, names) for piece in split_top_level(text))
    if len(values) == 1 and len(values[0].pieces) == 1 and isinstance(values[0].pieces[0], (NumberRange, ListedValues)):
        return values[0].pieces[0]
    if len(values) == 1 and isinstance(values[0].pieces[0], str) and len(values[0].pieces) == 1:
        raise ValueError(
            f"search: {name}={text} is one value, and leaves nothing to draw; give several (a, b, c) or a range "
            "(1..6), or set it for all trials with base"
        )
    return _listed(name, values)


def _listed(name: str, values: tuple[ValueText, ...]) -> ListedValues:
    """Return a list of values. Raise ValueError for one that comes twice."""
    texts = [value.text for value in values]
    if twice := [text for n, text in enumerate(texts) if text in texts[:n]]:
        raise ValueError(f"search: {name}: {quoted(twice[0])} comes twice")
    return ListedValues(name, values)


class _Names:
    """Names for values within others, each different: `mixer.features`, `mixer.features#2`."""

    def __init__(self, start: str) -> None:
        self._start = start
        self._given: dict[str, int] = {}

    def new(self, path: Sequence[str]) -> str:
        """Return a name for what stands at a path of parts and options; that of the whole option for none."""
        name = ".".join([self._start, *path])
        self._given[name] = self._given.get(name, 0) + 1
        return name if self._given[name] == 1 else f"{name}#{self._given[name]}"


def _parse_text(text: str, names: _Names) -> ValueText:
    """Return a text cut into what stands and what is drawn."""
    pieces: list[str | Searched] = []
    done = 0
    for start, end, found in _holes(text, names):
        pieces += [text[done:start], found]
        done = end
    pieces.append(text[done:])
    return ValueText(text, tuple(piece for piece in pieces if piece != "") or ("",))


def _holes(text: str, names: _Names) -> Iterator[tuple[int, int, Searched]]:
    """Yield the start, the end and the meaning of every range and every list in braces of a text."""
    found = tokens(text)
    path, option, skip_to = list[str](), "", 0
    for n, token in enumerate(found):
        if token.start < skip_to:
            continue
        following = found[n + 1].text if n + 1 < len(found) else ""
        if token.kind == "word" and token.text == "log" and following == "(":
            low_high = found[n + 2]
            end = _end_of_log(text, found, n)
            yield token.start, end, _range(names.new([*path, option] if option else path), low_high.text, log=True)
            skip_to = end
        elif token.kind == "number" and ".." in token.text:
            if n and found[n - 1].text == "-":
                raise ValueError(f"search: cannot read {quoted(text)}; a range is of numbers that are not negative")
            skip_to = token.start + len(token.text)
            yield token.start, skip_to, _range(names.new([*path, option] if option else path), token.text)
        elif token.text == "{" and token.kind == "sign":
            skip_to = _closing(text, found, n)
            name = names.new([*path, option] if option else path)
            inside = split_top_level(text[token.start + 1 : skip_to - 1])
            yield token.start, skip_to, _listed(name, tuple(_parse_text(one, _Names(name)) for one in inside))
        elif token.text == "(":
            path.append(option or (found[n - 1].text if n else ""))
            option = ""
        elif token.text == ")" and path:
            path.pop()
            option = ""
        elif token.kind == "word" and following == "=":
            option = token.text
        elif token.text == ",":
            option = ""


def _end_of_log(text: str, found: Sequence[Token], n: int) -> int:
    """Return the index after `log(…)`. Raise ValueError where it does not hold one range."""
    inside, closing = found[n + 2], found[min(n + 3, len(found) - 1)]
    if inside.kind != "number" or ".." not in inside.text or closing.text != ")":
        raise ValueError(f"search: cannot read {quoted(text)}; a logarithmic range is written log(1e-4..1e-2)")
    return closing.start + 1


def _closing(text: str, found: Sequence[Token], n: int) -> int:
    """Return the index after the brace that closes the one at token `n`. Raise ValueError where none does."""
    depth = 0
    for token in found[n:]:
        depth += (token.text == "{") - (token.text == "}")
        if not depth:
            return token.start + 1
    raise ValueError(f"search: cannot read {quoted(text)}: a brace is left open")


def _range(name: str, text: str, log: bool = False) -> NumberRange:
    """Return the range that `1..6` means. Raise ValueError for one that is none."""
    ends = text.split("..")
    try:
        low, high = (int(end) if _WHOLE.fullmatch(end) else float(end) for end in ends)
    except ValueError:
        raise ValueError(f"search: cannot read the range {quoted(text)} of {name}; write 1..6 or 1e-4..1e-2") from None
    if not low < high:
        raise ValueError(f"search: the range {text} of {name} needs a smaller number before a larger one")
    if log and not low > 0:
        raise ValueError(f"search: the logarithmic range {text} of {name} needs numbers above 0")
    return NumberRange(name, low, high, log)
