"""Confidence intervals over seeds, or over test items where there is one seed, after Student; many at once after Holm.

Student's t is honest at the two to five seeds that people can afford. A percentile bootstrap over three seeds can never
leave the range of the three values, so its "95 %" interval misses the truth in one case out of four, and with two seeds
in one out of two. Student's t widens as it must.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

_LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean, and half the width of its interval over seeds, or else over test items; None where both are too few."""

    mean: float
    half_width: float | None
    seeds: int
    items: int = 0
    "Number of test items that the interval is over; 0 for an interval over seeds."
    error: float | None = None
    "Standard error of the mean; None without an interval."

    @property
    def established(self) -> bool:
        """Return whether the interval excludes zero: for a difference, whether there is one."""
        return self.half_width is not None and abs(self.mean) > self.half_width

    @property
    def freedom(self) -> int:
        """Return the degrees of freedom of the standard error."""
        return (self.items or self.seeds) - 1

    @property
    def p_value(self) -> float | None:
        """Return the probability of so large a mean, to either side, where the true one is 0; None without an error."""
        if self.error is None:
            return None
        from scipy.special import stdtr  # takes a moment, which commands without a report need not wait for

        size = abs(self.mean) / self.error if self.error else math.inf if self.mean else 0.0
        return 2 * float(stdtr(self.freedom, -size))

    @property
    def level(self) -> float | None:
        """Return the level of the interval: 0.95, or more where it holds together with others; None without an error.

        With an error of 0 any level gives the same interval.
        """
        if self.error is None or self.half_width is None:
            return None
        from scipy.special import stdtr

        return 1 - 2 * float(stdtr(self.freedom, -self.half_width / self.error)) if self.error else _LEVEL

    def at_level(self, level: float) -> Estimate:
        """Return the estimate with an interval of another level, such as 0.99; without one, as it is."""
        if self.error is None:
            return self
        return replace(self, half_width=two_sided_quantile(self.freedom, level) * self.error)


def estimate(values: Sequence[float]) -> Estimate:
    """Return the mean of `values` with a 95 % interval."""
    if len(values) < 2:
        return Estimate(mean=fmean(values), half_width=None, seeds=len(values))
    mean = fmean(values)
    spread = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    error = math.sqrt(spread / len(values))
    return Estimate(mean=mean, half_width=None, seeds=len(values), error=error).at_level(_LEVEL)


def estimate_over_items(own: np.ndarray, other: np.ndarray) -> Estimate:
    """Return the mean of `own` − `other`, arrays over test items, with a 95 % interval over the choice of the items.

    It says nothing about the training's randomness: it is the interval for these two trained models.
    """
    differences = own - other
    count = len(differences)
    error = float(differences.std(ddof=1)) / math.sqrt(count)
    found = Estimate(mean=float(differences.mean()), half_width=None, seeds=1, items=count, error=error)
    return found.at_level(_LEVEL)


def holm(estimates: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """Return estimates with intervals that are wider, so that all together exclude a true zero in 5 % of studies.

    Holm's procedure: of m estimates, the one with the smallest p is tested at 5 % / m, the next at 5 % / (m − 1), and
    so on, until one is not established; the rest is not, either. Each interval has the level of its own test, and of
    the test that failed from there on, so that it excludes zero where Holm's procedure does. It establishes all that
    Bonferroni's does, and more. Holm 1979, Scandinavian Journal of Statistics 6.
    """
    p_values = {name: it.p_value for name, it in estimates.items()}
    tested = sorted((p, name) for name, p in p_values.items() if p is not None)
    found, left = dict(estimates), len(tested)
    failed = False
    for p, name in tested:
        found[name] = estimates[name].at_level(1 - (1 - _LEVEL) / left)
        failed = failed or p > (1 - _LEVEL) / left
        left -= not failed
    return found


def two_sided_quantile(freedom: int, level: float) -> float:
    """Return t with P(|T| < t) = `level` at `freedom` degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + level) / 2))
