"""From values to places on paper, and the round numbers that mark an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeAlias

Tick: TypeAlias = tuple[float, str]
"Place along the axis, and text."
_MOST = 1e300
"""The largest number that an axis shows."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Maps `low`…`high` to `start`…`end`, linearly or by logarithm."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the place of `value`."""
        low, high, value = (math.log(x) if self.log else x for x in (self.low, self.high, value))
        return round(self.start + (value - low) / (high - low) * (self.end - self.start), 1)

    def inside(self, value: float) -> float:
        """Return the place of `value`, or of the nearest end."""
        return self(min(max(value, self.low), self.high))

    def ticks(self, wanted: int) -> list[Tick]:
        """Return about `wanted` round values within the scale, or by logarithm 1, 2 and 5 of each decade."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            values = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
            marked = [(self(value), f"{value:g}") for value in values if self.low <= value <= self.high]
            if len(marked) > 1:
                return marked
        step = _round_step((self.high - self.low) / wanted)
        places = max(0, -math.floor(math.log10(step) + 1e-9)) + (1 if _needs_a_half(step) else 0)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        form = "g" if self.log else f".{places}f"
        return [(self(index * step), f"{index * step:{form}}".replace("-", "−")) for index in range(first, last + 1)]


def scale(values: Sequence[float], start: float, end: float, margin: float = 0.06, log: bool = False) -> Scale:
    """Return a scale that holds `values`, with `margin` of their span left free on both sides.

    It ends before floats do: what is beyond 1e300 lies outside of the frame.
    """
    low, high = (min(max(value, -_MOST), _MOST) for value in (min(values), max(values)))
    if log:
        low, high = max(low, 1 / _MOST), max(high, 1 / _MOST)
        factor = (high / low) ** margin if 1 < high / low < math.inf else 1.5
        low, high = max(low / factor, 0.1 / _MOST), min(high * factor, 10 * _MOST)
        return Scale(low=low, high=high, start=start, end=end, log=True)
    free = (high - low) * margin or abs(high) * margin or 1.0
    return Scale(low=low - free, high=high + free, start=start, end=end)


def unit_for(values: Sequence[float], units: Sequence[tuple[float, str]]) -> tuple[float, str]:
    """Return the largest of `units`, (size, name), that does not make a typical one of `values` smaller than 1."""
    fitting = [unit for unit in units if unit[0] <= median(values)]
    return fitting[-1] if fitting else units[0]


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(digit * power for digit in (1, 2, 2.5, 5, 10) if digit * power >= step * (1 - 1e-9))


def _needs_a_half(step: float) -> bool:
    return step < 10 and round(step / 10.0 ** math.floor(math.log10(step)), 6) == 2.5
