"""Patterns by numbers, which stand for them in compiled graphs: compilers take numbers as constants, but not every
object.

Nothing is forgotten: a graph may be run as long as its process lives.
"""

from __future__ import annotations

from formers.ops.sparse_attention.pairs import Pairs

_NUMBERS: dict[Pairs, int] = {}
_PATTERNS: list[Pairs] = []


def number_of(pattern: Pairs) -> int:
    """Return the number of a pattern in this process: equal patterns have one number, different ones never share."""
    number = _NUMBERS.setdefault(pattern, len(_PATTERNS))
    if number == len(_PATTERNS):
        _PATTERNS.append(pattern)
    return number


def patterns_of(numbers: tuple[int, ...]) -> tuple[Pairs, ...]:
    """Return the patterns of some numbers."""
    return tuple(_PATTERNS[number] for number in numbers)
