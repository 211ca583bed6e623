"""The size from which on a part is faster, or slower, than the reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from formers.bench.statistics.interval import Interval, interval


@dataclass(frozen=True, kw_only=True)
class Crossover:
    """The order of a part and the reference at the largest size, and the size from which on it holds.

    Attributes:
        faster: the part costs less than the reference there.
        at: the size from which on it stays so; None where it is so at every size that was measured. An end of the
            interval is 0 or infinite where some rounds did not cross.
    """

    faster: bool
    at: Interval | None


def crossover(sizes: Sequence[int], ratios: Sequence[Sequence[float]]) -> Crossover | None:
    """Return where cost / reference passes 1 for the last time, on the doubly logarithmic plot; None without sizes.

    Args:
        sizes: ascending.
        ratios: for each size, cost / reference in every round.
    """
    if not sizes:
        return None
    middle = [interval(values).median for values in ratios]
    faster = middle[-1] < 1
    last = _crossing(sizes, middle, faster)
    if last == 0:
        return Crossover(faster=faster, at=None)
    every = interval([_crossing(sizes, one, faster) for one in zip(*ratios, strict=False)])
    low, high = min(every.low, last), max(every.high, last)
    return Crossover(faster=faster, at=Interval(median=last, low=low, high=high, coverage=every.coverage))


def _crossing(sizes: Sequence[int], ratios: Sequence[float], faster: bool) -> float:
    """Return the size from which on the ratio stays on the wanted side of 1: 0 if always, infinity if never."""
    logs = [math.log(ratio) if faster else -math.log(ratio) for ratio in ratios]  # the wanted side is the negative one
    if logs[-1] >= 0:
        return math.inf
    other = [index for index, value in enumerate(logs) if value >= 0]
    if not other:
        return 0.0
    i = other[-1]
    share = logs[i] / (logs[i] - logs[i + 1])
    return float(math.exp(math.log(sizes[i]) + share * math.log(sizes[i + 1] / sizes[i])))
