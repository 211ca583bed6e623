"""The Pareto front of quality and a cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import groupby


def pareto_front(losses: Mapping[str, float], costs: Mapping[str, float | None]) -> set[str]:
    """Return the names that no other name beats in loss or cost without losing in the other.

    Args:
        losses: name → quality, where lower is better.
        costs: name → cost; names with None are on no front.
    """
    points = {name: (loss, cost) for name, loss in losses.items() if (cost := costs[name]) is not None}

    front: set[str] = set()
    least = math.inf  # the loss of the best point that is cheaper
    for _, alike in groupby(sorted(points, key=lambda name: points[name][1]), key=lambda name: points[name][1]):
        names = list(alike)
        best = min(points[name][0] for name in names)
        if best < least:
            front |= {name for name in names if points[name][0] == best}
            least = best
    return front
