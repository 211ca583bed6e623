"""The median of values measured round by round, with an interval that assumes nothing of their distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

_LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A median, and the order statistics between which the true one lies with probability `coverage`."""

    median: float
    low: float
    high: float
    coverage: float


def interval(values: Sequence[float]) -> Interval:
    """Return the median with the narrowest pair of order statistics that covers it with at least 95 %.

    The true median lies between the k-th smallest and the k-th largest of n values unless fewer than k of them fall on
    one of its sides, probability 2·Σ_{i<k} C(n, i)/2ⁿ. Fewer than six values cannot reach 95 %; the interval then spans
    all of them, and `coverage` is less. Raise ValueError without a value.
    """
    ordered, count = sorted(values), len(values)
    if not ordered:
        raise ValueError("an interval needs at least one value, but none was given")
    inner = max((k for k in range(1, (count + 1) // 2 + 1) if coverage(count, k) >= _LEVEL), default=1)
    return Interval(
        median=median(ordered), low=ordered[inner - 1], high=ordered[count - inner], coverage=coverage(count, inner)
    )


def coverage(count: int, inner: int) -> float:
    """Return the probability that the median lies between the `inner`-th smallest and largest of `count` values."""
    return 1 - 2 * sum(math.comb(count, i) for i in range(inner)) / 2**count


def ratios(values: Sequence[float], references: Sequence[float]) -> list[float]:
    """Return value / reference, round by round: a moment that slowed both cancels."""
    return [value / reference for value, reference in zip(values, references, strict=False)]
