"""The rows of a study, summarised arm by arm: every number that any form of the report shows is computed here, once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

import numpy as np

from formers.lab.report.confidence_interval import Estimate, estimate, estimate_over_items
from formers.lab.report.costs import COSTS, TRADED_COSTS, Cost
from formers.lab.store.records import Results, Row, TaskMetric
from formers.plot.number_format import decimals


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """The ranking metric on the way: `value` after `step` steps and `seconds` of training."""

    step: int
    seconds: float
    value: float


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One arm over all its seeds."""

    name: str
    rows: tuple[Row, ...]
    values: Mapping[int, float]
    "Seed → final metric, for the runs that finished with a finite one."
    rank: int | None
    metric: Estimate | None
    "The final metric; None if no run has one."
    to_base: Estimate | None
    "Arm minus base, paired by seed, or by test item where one seed is shared; None for the base itself and where none is."
    to_best: Estimate | None
    "Arm minus the best arm, likewise."
    costs: Mapping[str, float | None]
    "`Cost.name` → mean over the runs that count."
    to_base_costs: Mapping[str, float | None]
    "`Cost.name` → relative difference to the base."
    fronts: frozenset[str]
    "The `Cost.name`s for which no arm is at least as good and as cheap (and better in one of them)."
    curve: tuple[CurvePoint, ...]
    "Mean over seeds, at the steps which every seed reached."
    seed_curves: tuple[tuple[CurvePoint, ...], ...]
    "The curves behind that mean; empty where there is just one."
    status: str
    "`3 of 3` seeds finished, or what went wrong when nothing can be ranked."


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A study as its reader sees it."""

    results: Results
    arms: tuple[Arm, ...]
    "Ranked arms, best first, then those without a rank in the order in which they were given."
    base: str
    "The first arm that was given: the one that differences refer to."

    @property
    def metric(self) -> TaskMetric:
        """The metric that ranks."""
        return self.results.metric

    @cached_property
    def digits(self) -> int:
        """After the point, with which the whole report writes the ranking metric."""
        return decimals(arm.metric.mean for arm in self.ranked if arm.metric)

    @cached_property
    def ranked(self) -> tuple[Arm, ...]:
        """The arms with a result, best first."""
        return tuple(arm for arm in self.arms if arm.rank is not None)

    @property
    def unranked(self) -> tuple[Arm, ...]:
        """The arms without one."""
        return tuple(arm for arm in self.arms if arm.rank is None)

    @property
    def failures(self) -> tuple[Row, ...]:
        """The runs that did not leave a finite result."""
        return tuple(row for row in self.results.rows if problem(row, self.metric))

    def arm(self, name: str) -> Arm:
        """The arm called `name`."""
        return next(arm for arm in self.arms if arm.name == name)

    def better(self, first: float, second: float) -> bool:
        """Whether metric value `first` is better than `second`."""
        return first < second if self.metric.lower_is_better else first > second

    def lines(self) -> list[Arm | tuple[str, float]]:
        """The ranking with the references where they belong: arms and (name, value), best first, unranked last."""
        scored: list[tuple[float, Arm | tuple[str, float]]] = []
        scored += [(arm.metric.mean, arm) for arm in self.ranked if arm.metric]
        scored += [(value, (name, value)) for name, value in self.results.references.items() if math.isfinite(value)]
        scored.sort(key=lambda item: item[0], reverse=not self.metric.lower_is_better)
        return [line for _, line in scored] + list(self.unranked)


def problem(row: Row, metric: TaskMetric) -> str:
    """Why `row` has no result: `failed`, `out of memory`…, or `no finite metric` of a run that finished. Empty if it has one."""
    if row.status != "finished":
        return row.status.replace("_", " ")
    return "" if math.isfinite(row.metrics.get(metric.name, math.nan)) else "no finite metric"


def summarize(results: Results) -> Summary:
    """Group the rows of `results` by arm, average over seeds, rank, and compare with the base and with the best."""
    groups: dict[str, list[Row]] = {}
    for row in results.rows:
        groups.setdefault(row.arm, []).append(row)
    values = {name: _values(rows, results.metric) for name, rows in groups.items()}
    items = {name: _items(rows, values[name]) for name, rows in groups.items()}
    order = _order(values, results.metric)
    base = next(iter(groups), "")
    costs = {name: {cost.name: _cost(rows, cost) for cost in COSTS} for name, rows in groups.items()}
    fronts = {cost.name: _front(order, values, costs, cost, results.metric) for cost in TRADED_COSTS}
    best = order[0] if order else ""
    comparisons = len(order) - 1
    ranks = {name: index + 1 for index, name in enumerate(order)}

    def summarized(name: str) -> Arm:
        curves = _curves(groups[name], results.metric)
        return Arm(
            name=name,
            rows=tuple(groups[name]),
            values=values[name],
            rank=ranks.get(name),
            metric=estimate(list(values[name].values())) if values[name] else None,
            to_base=_difference(values, items, name, base, comparisons),
            to_best=_difference(values, items, name, best, comparisons),
            costs=costs[name],
            to_base_costs={cost: _relative(value, costs[base][cost]) for cost, value in costs[name].items()},
            fronts=frozenset(cost for cost, front in fronts.items() if name in front),
            curve=_mean_curve(curves),
            seed_curves=curves if len(curves) > 1 else (),
            status=_status(groups[name], values[name], results.metric),
        )

    names = [*order, *(name for name in groups if name not in ranks)]
    return Summary(results=results, arms=tuple(summarized(name) for name in names), base=base)


def _values(rows: Sequence[Row], metric: TaskMetric) -> dict[int, float]:
    return {row.seed: row.metrics[metric.name] for row in rows if not problem(row, metric)}


def _items(rows: Sequence[Row], values: Mapping[int, float]) -> dict[int, np.ndarray]:
    """Seed → the metric of each test item, for the runs that count and have several."""
    items = {row.seed: np.asarray(row.items) for row in rows if row.seed in values and len(row.items) > 1}
    return {seed: array for seed, array in items.items() if np.isfinite(array).all()}


def _status(rows: Sequence[Row], values: Mapping[int, float], metric: TaskMetric) -> str:
    if values:
        return f"{len(values)} of {len({row.seed for row in rows})}"
    return ", ".join(dict.fromkeys(problem(row, metric) for row in rows))


def _order(values: Mapping[str, Mapping[int, float]], metric: TaskMetric) -> list[str]:
    means = {name: fmean(seeds.values()) for name, seeds in values.items() if seeds}
    return sorted(means, key=lambda name: means[name] if metric.lower_is_better else -means[name])


def _difference(
    values: Mapping[str, Mapping[int, float]],
    items: Mapping[str, Mapping[int, np.ndarray]],
    name: str,
    other: str,
    comparisons: int,
) -> Estimate | None:
    """`name` minus `other` over the seeds that both finished: shared data order and weights cancel in the pairs.

    With one such seed, the pairs are the test items.
    """
    if name == other or other not in values:
        return None
    shared = [seed for seed in values[name] if seed in values[other]]
    if len(shared) == 1:
        own, others = items[name].get(shared[0]), items[other].get(shared[0])
        if own is not None and others is not None and len(own) == len(others):
            return estimate_over_items(own, others, comparisons)
    pairs = [values[name][seed] - values[other][seed] for seed in shared]
    return estimate(pairs, comparisons) if pairs else None


def _cost(rows: Sequence[Row], cost: Cost) -> float | None:
    """Mean over the finished runs, or over all of them if none finished; None where nothing was measured."""
    rows = [row for row in rows if row.status == "finished"] or rows
    found = [float(value) for row in rows if (value := getattr(row, cost.name)) is not None]
    found = [value for value in found if math.isfinite(value) and not (cost.zero_is_missing and value == 0)]
    return fmean(found) if found else None


def _relative(value: float | None, base: float | None) -> float | None:
    return value / base - 1 if value is not None and base else None


def _front(
    order: Sequence[str],
    values: Mapping[str, Mapping[int, float]],
    costs: Mapping[str, Mapping[str, float | None]],
    cost: Cost,
    metric: TaskMetric,
) -> set[str]:
    """The arms that no other arm beats in one of (quality, cost) without losing in the other."""
    sign = 1 if metric.lower_is_better else -1
    points = {
        name: (sign * fmean(values[name].values()), value)
        for name in order
        if (value := costs[name][cost.name]) is not None
    }

    def beaten(point: tuple[float, float]) -> bool:
        return any(other != point and other[0] <= point[0] and other[1] <= point[1] for other in points.values())

    return {name for name, point in points.items() if not beaten(point)}


def _curves(rows: Sequence[Row], metric: TaskMetric) -> tuple[tuple[CurvePoint, ...], ...]:
    """One learning curve a run; failed runs count only where nothing finished."""
    rows = [row for row in rows if not problem(row, metric)] or rows
    curves = (
        tuple(
            CurvePoint(step=point.step, seconds=point.seconds, value=value)
            for point in row.curve
            if math.isfinite(value := point.values.get(metric.name, math.nan)) and math.isfinite(point.seconds)
        )
        for row in rows
    )
    return tuple(curve for curve in curves if curve)


def _mean_curve(curves: Sequence[Sequence[CurvePoint]]) -> tuple[CurvePoint, ...]:
    if len(curves) == 1:
        return tuple(curves[0])
    by_step: dict[int, list[CurvePoint]] = {}
    for curve in curves:
        for point in curve:
            by_step.setdefault(point.step, []).append(point)
    return tuple(
        CurvePoint(
            step=step, seconds=fmean(point.seconds for point in points), value=fmean(point.value for point in points)
        )
        for step, points in sorted(by_step.items())
        if len(points) == len(curves)
    )
