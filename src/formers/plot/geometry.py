"""Places, boxes and paths on paper: x to the right, y downwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

XY: TypeAlias = tuple[float, float]
"A point."
Box: TypeAlias = tuple[float, float, float, float]
"Left, top, right, bottom."


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The size of a drawing, and the rectangle in it that holds the data."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int

    @property
    def box(self) -> Box:
        """Return the rectangle that holds the data."""
        return (self.left, self.top, self.right, self.bottom)


def box_around(point: XY, half: float) -> Box:
    """Return the square around `point` whose sides are twice `half`."""
    return (point[0] - half, point[1] - half, point[0] + half, point[1] + half)


def svg_band(above: Sequence[XY], below: Sequence[XY]) -> str:
    """Return the SVG path around what lies between two lines, both from left to right."""
    return f"{svg_path([*above, *reversed(below)])}Z"


def svg_path(points: Sequence[XY]) -> str:
    """Return the SVG path through `points`."""
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points)
