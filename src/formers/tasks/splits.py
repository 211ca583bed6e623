"""Splits by a checksum of the example itself, so that none is ever in two of them."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Literal, TypeVar

_T = TypeVar("_T")
_TRIES = 100_000
"""Draws without one of a split, after which there is none, or they are so rare that a training would take for ever."""

Side = Literal["train", "validation", "test"]


def side_of(content: str, share: int = 16) -> Side:
    """Return the split of an example by a checksum of its content.

    One example in `share` is for validation, another for the test; the rest is trained on.
    """
    number = int.from_bytes(sha256(content.encode()).digest(), "little") % share
    return "validation" if number == 0 else "test" if number == 1 else "train"


def first_of(side: Side, draw: Callable[[], tuple[str, _T] | None], task: object) -> _T:
    """Return the first example of a split among those that are drawn.

    Args:
        draw: returns the content and the example of a new one; None for one that is not kept, whatever its split.
        task: what the examples are of, as an error says it.

    Raise ValueError where none of 100,000 belongs to the split.
    """
    for _ in range(_TRIES):
        if (made := draw()) is not None and side_of(made[0]) == side:
            return made[1]
    raise ValueError(
        f"{task}: of {_TRIES:,} examples that were drawn, none is one for {side}: there are too few different ones, or "
        "hardly any of the sizes that are wanted; choose other sizes"
    )
