"""A study as its reader sees it: every arm over its seeds, ranked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from formers.lab.report.confidence_interval import Estimate
from formers.lab.report.learning_curve import CurvePoint, learning_curves, mean_curve
from formers.lab.store.records import Results, Row, TaskMetric
from formers.plot.number_format import decimals


@dataclass(frozen=True, kw_only=True)
class ArmSummary:
    """One arm over all its seeds."""

    name: str
    rows: tuple[Row, ...]
    values: Mapping[int, float]
    "Seed → final metric, for the runs that finished with a finite one."
    rank: int | None
    metric: Estimate | None
    "The final metric; None if no run has one."
    to_base: Estimate | None
    "Arm minus base, paired by seed, or by test item where one seed is shared; None for the base, and without a pair."
    to_best: Estimate | None
    "Arm minus the best arm, likewise."
    costs: Mapping[str, float | None]
    "`Cost.name` → mean over the runs that count."
    to_base_costs: Mapping[str, float | None]
    "`Cost.name` → relative difference to the base."
    fronts: frozenset[str]
    "The `Cost.name`s for which no arm is at least as good and as cheap (and better in one of them)."
    status: str
    "`3 of 3` seeds finished, or what went wrong when nothing can be ranked."
    validated: str
    "The name of the metric that curves are of."

    @cached_property
    def curve(self) -> tuple[CurvePoint, ...]:
        """Return the mean of the runs that count, at the steps which all of them reached."""
        return mean_curve(self._curves)

    @property
    def seed_curves(self) -> tuple[tuple[CurvePoint, ...], ...]:
        """Return the curves behind that mean; nothing where there is just one."""
        return self._curves if len(self._curves) > 1 else ()

    @cached_property
    def _curves(self) -> tuple[tuple[CurvePoint, ...], ...]:
        counted = [row for row in self.rows if row.seed in self.values] or self.rows
        return learning_curves(counted, self.validated)


MOST_DETAILED = 100
"Arms whose details a page tells, beside the base; of further ones it tells the result, the costs, and every run."


@dataclass(frozen=True, kw_only=True)
class StudySummary:
    """A study, arm by arm."""

    results: Results
    arms: tuple[ArmSummary, ...]
    "Ranked arms, best first, then those without a rank in the order in which they were given."
    base: str
    "The first arm that was given: the one that differences refer to."

    @property
    def metric(self) -> TaskMetric:
        """Return the metric that ranks."""
        return self.results.metric

    @cached_property
    def digits(self) -> int:
        """Return how many digits after the point the whole report writes of the ranking metric."""
        return decimals(arm.metric.mean for arm in self.ranked if arm.metric)

    @cached_property
    def ranked(self) -> tuple[ArmSummary, ...]:
        """Return the arms with a result, best first."""
        return tuple(arm for arm in self.arms if arm.rank is not None)

    @cached_property
    def detailed(self) -> tuple[ArmSummary, ...]:
        """Return the first `MOST_DETAILED` arms, and the base."""
        first = self.arms[:MOST_DETAILED]
        return (*first, *(arm for arm in self.arms[MOST_DETAILED:] if arm.name == self.base))

    @property
    def unranked(self) -> tuple[ArmSummary, ...]:
        """Return the arms without a result."""
        return tuple(arm for arm in self.arms if arm.rank is None)

    @cached_property
    def failures(self) -> tuple[Row, ...]:
        """Return the runs that did not leave a finite result."""
        return tuple(row for row in self.results.rows if problem(row, self.metric))

    def arm(self, name: str) -> ArmSummary:
        """Return the arm called `name`."""
        return next(arm for arm in self.arms if arm.name == name)

    def better(self, first: float, second: float) -> bool:
        """Return whether metric value `first` is better than `second`."""
        return first < second if self.metric.lower_is_better else first > second

    def ranked_with_references(self) -> list[ArmSummary | tuple[str, float]]:
        """Return arms and references (name, value) in one order, best first, then the arms without a result."""
        scored: list[tuple[float, ArmSummary | tuple[str, float]]] = []
        scored += [(arm.metric.mean, arm) for arm in self.ranked if arm.metric]
        scored += [(value, (name, value)) for name, value in self.results.references.items() if math.isfinite(value)]
        scored.sort(key=lambda item: item[0], reverse=not self.metric.lower_is_better)
        return [entry for _, entry in scored] + list(self.unranked)


def problem(row: Row, metric: TaskMetric) -> str:
    """Return why `row` has no result: `failed`, `out of memory`, …, or `no finite metric`. Empty if it has one."""
    if row.status != "finished":
        return row.status.replace("_", " ")
    return "" if math.isfinite(row.metrics.get(metric.name, math.nan)) else "no finite metric"
