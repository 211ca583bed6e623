"""Looks that tell series apart in every chart: a colour that colour-blind readers can separate, and a shape."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MAX_LOOKS = 12
"Series with a look of their own; with more of them, nobody could tell them apart."

_COLOURS = 7
"page.css defines c0 … c6, after Okabe and Ito (2008), for light and for dark paper."

_SHAPES = (
    "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0z",
    "M-4.5-4.5h9v9h-9z",
    "M0-5.8L5.6 4.2H-5.6z",
    "M0-6.2L6.2 0L0 6.2L-6.2 0z",
    "M0 5.8L5.6-4.2H-5.6z",
    "M-2-5.5h4v3.5h3.5v4H2v3.5h-4V2h-3.5v-4H-2z",
    "M0-5.8L5.5-1.8L3.4 4.7H-3.4L-5.5-1.8z",
    "M0-6.5L1.7-2.3L6.2-2L2.7 .9L3.8 5.3L0 2.9L-3.8 5.3L-2.7 .9L-6.2-2L-1.7-2.3z",
)


@dataclass(frozen=True, kw_only=True)
class Look:
    """The CSS classes that set the colour, and the outline of a marker of radius 5 around the origin."""

    colour: str
    shape: str


SHARED_LOOK = Look(colour="plain", shape="M-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0z")
"The look of all series that have none of their own: small and grey."


def assign_looks(names: Iterable[str]) -> dict[str, Look]:
    """Return name → look, in the order of `names`."""
    return {name: _look(index) for index, name in enumerate(names)}


def _look(index: int) -> Look:
    """Return the `index`-th look; where a colour comes again, its lines are dashed."""
    again = " again" if index >= _COLOURS else ""
    return Look(colour=f"c{index % _COLOURS}{again}", shape=_SHAPES[index % len(_SHAPES)])
