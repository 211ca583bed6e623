"""Confidence intervals over seeds, or over test items where there is one seed, after Student.

Student's t is honest at the two to five seeds that people can afford. A percentile bootstrap over three seeds can never
leave the range of the three values, so its "95 %" interval misses the truth in one case out of four, and with two seeds
in one out of two. Student's t widens as it must.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean, stdev

import numpy as np

_LEVEL = 0.95
_MANY = 2000
"Degrees of freedom beyond which an interval narrows by less than a thousandth."


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean, and half the width of its interval over seeds, or else over test items; None where both are too few."""

    mean: float
    half_width: float | None
    seeds: int
    items: int = 0
    "Number of test items that the interval is over; 0 for an interval over seeds."

    @property
    def established(self) -> bool:
        """Return whether the interval excludes zero: for a difference, whether there is one."""
        return self.half_width is not None and abs(self.mean) > self.half_width


def estimate(values: Sequence[float], comparisons: int = 1) -> Estimate:
    """Return the mean of `values` with a 95 % interval that holds for `comparisons` intervals at once (Bonferroni)."""
    if len(values) < 2:
        return Estimate(mean=fmean(values), half_width=None, seeds=len(values))
    quantile = two_sided_quantile(len(values) - 1, 1 - (1 - _LEVEL) / max(1, comparisons))
    half_width = quantile * stdev(values) / math.sqrt(len(values))
    return Estimate(mean=fmean(values), half_width=half_width, seeds=len(values))


def estimate_over_items(own: np.ndarray, other: np.ndarray, comparisons: int = 1) -> Estimate:
    """Return the mean of `own` − `other`, arrays over test items, with an interval over the choice of the items.

    It says nothing about the training's randomness: it is the interval for these two trained models.
    """
    differences = own - other
    count = len(differences)
    quantile = two_sided_quantile(min(count - 1, _MANY), 1 - (1 - _LEVEL) / max(1, comparisons))
    half_width = quantile * float(differences.std(ddof=1)) / math.sqrt(count)
    return Estimate(mean=float(differences.mean()), half_width=half_width, seeds=1, items=count)


@cache
def two_sided_quantile(freedom: int, level: float) -> float:
    """Return t with P(|T| < t) = `level` at `freedom` degrees of freedom, by bisection on atan(t/√freedom)."""
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        if _probability_within(middle, freedom) < level:
            low = middle
        else:
            high = middle
    return math.sqrt(freedom) * math.tan(low)


def _probability_within(angle: float, freedom: int) -> float:
    """Return P(|T| < √freedom·tan(angle)) by the series for whole degrees of freedom (Abramowitz, Stegun 26.7.3-4)."""
    cosine, sine = math.cos(angle), math.sin(angle)
    odd = freedom % 2
    term = cosine if odd else 1.0
    total = term if freedom > 1 else 0.0
    for k in range(2 + odd, freedom - 1, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    return (angle + sine * total) * 2 / math.pi if odd else sine * total
