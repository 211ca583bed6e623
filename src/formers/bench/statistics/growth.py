"""Growth of a cost: the exponent e of cost ∝ sizeᵉ."""

from __future__ import annotations

import math
from collections.abc import Sequence

from formers.bench.statistics.interval import Interval, interval


def growth(sizes: Sequence[int], costs: Sequence[Sequence[float]]) -> Interval | None:
    """Return the exponent at the large end, with its interval over the rounds; None with fewer than two sizes.

    It is the slope of least squares through log cost against log size, in each round by itself. Only the larger half of
    the sizes counts: below it, costs that do not grow would flatten the line.

    Args:
        sizes: ascending.
        costs: for each size, its cost in every round.
    """
    used = len(sizes) // 2 + 1
    if len(sizes) < 2:
        return None
    x = [math.log(size) for size in sizes[-used:]]
    return interval([_slope(x, [math.log(cost) for cost in one]) for one in zip(*costs[-used:], strict=False)])


def _slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Return the slope of the least-squares line through the points."""
    middle_x, middle_y = sum(x) / len(x), sum(y) / len(y)
    across = sum((a - middle_x) ** 2 for a in x)
    return sum((a - middle_x) * (b - middle_y) for a, b in zip(x, y, strict=True)) / across
