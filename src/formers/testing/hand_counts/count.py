"""Operations counted by hand, and for which parts: `@counted_by_hand(Softmax)` registers a function for a class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from formers.part import Part, Site

HandCount: TypeAlias = Callable[[Any, Site, int], "Count"]
"""`count(part, site, length)` returns the operations for one sequence of so many tokens, from its start, in eval
mode."""
_Written = TypeVar("_Written", bound=HandCount)
_COUNTS: dict[type[Part], HandCount] = {}


@dataclass(frozen=True)
class Count:
    """Operations of a forward pass, and of the backward pass of a function of its outputs."""

    forward: int
    backward: int

    def __add__(self, other: Count) -> Count:
        return Count(self.forward + other.forward, self.backward + other.backward)

    def __rmul__(self, times: int) -> Count:
        return Count(times * self.forward, times * self.backward)


NOTHING = Count(0, 0)


def product(m: int, n: int, k: int, *, gradients: int = 2) -> Count:
    """Return the count of (m, k) times (k, n): 2·m·n·k, and the same for each factor that gets a gradient."""
    return Count(2 * m * n * k, gradients * 2 * m * n * k)


def attention_over(pairs: int, key_width: int, value_width: int) -> Count:
    """Return the count of scores and weighted sums over so many pairs, whose backward pass makes the scores again."""
    return Count(2 * pairs * (key_width + value_width), 2 * pairs * (3 * key_width + 2 * value_width))


def counted_by_hand(*kinds: type[Part]) -> Callable[[_Written], _Written]:
    """Register a function as the count of these classes of parts; subclasses share it unless they have their own."""

    def register(function: _Written) -> _Written:
        for kind in kinds:
            _COUNTS[kind] = function
        return function

    return register


def has_hand_count(part: Part) -> bool:
    """Return whether there is a count by hand for the part."""
    return any(kind in _COUNTS for kind in type(part).__mro__)


def hand_count(part: Part, site: Site, length: int) -> Count:
    """Return the operations of a part counted by hand. Raise LookupError where nobody has."""
    for kind in type(part).__mro__:
        if kind in _COUNTS:
            return _COUNTS[kind](part, site, length)
    raise LookupError(
        f"{part} has no count by hand; write one and register it with @counted_by_hand({type(part).__name__})"
    )
