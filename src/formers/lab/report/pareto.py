"""The Pareto front of quality and a cost."""

from __future__ import annotations

from collections.abc import Mapping


def pareto_front(losses: Mapping[str, float], costs: Mapping[str, float | None]) -> set[str]:
    """Return the names that no other name beats in loss or cost without losing in the other.

    Args:
        losses: name → quality, where lower is better.
        costs: name → cost; names with None are on no front.
    """
    points = {name: (loss, cost) for name, loss in losses.items() if (cost := costs[name]) is not None}

    def beaten(point: tuple[float, float]) -> bool:
        return any(other != point and other[0] <= point[0] and other[1] <= point[1] for other in points.values())

    return {name for name, point in points.items() if not beaten(point)}
