"""A way in: how a case is made from a random source, and how it enters the library."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

WAYS: dict[str, Way] = {}
"""Every way in, by name."""


@dataclass(frozen=True)
class Way:
    """One way in.

    Attributes:
        make: makes a case, plain data, from a random source.
        enter: takes it into the library, in an empty folder. It returns where the case was taken and reads back equal,
            and raises the library's error, or `Nonsense`, where not.
        share: of a thousand cases of a campaign, how many go this way.
    """

    name: str
    share: int
    make: Callable[[Random], Any]
    enter: Callable[[Any, Path], None]


def way(name: str, share: int, make: Callable[[Random], Any]) -> Callable[..., Callable[[Any, Path], None]]:
    """Register the decorated function as a way in."""

    def register(enter: Callable[[Any, Path], None]) -> Callable[[Any, Path], None]:
        WAYS[name] = Way(name, share, make, enter)
        return enter

    return register


def case_of(name: str, seed: int) -> Any:
    """Return the case that a way in makes of a seed: the same in every process."""
    return WAYS[name].make(Random(f"{name}/{seed}"))


def enter_case(name: str, seed: int, folder: Path) -> None:
    """Make a case, and take it in."""
    WAYS[name].enter(case_of(name, seed), folder)
