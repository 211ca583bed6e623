"""From the rows of a study to its summary: every number that any form of the report shows is computed here, once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np

from formers.lab.report.confidence_interval import Estimate, estimate, estimate_over_items, holm
from formers.lab.report.costs import COSTS, TRADED_COSTS, Cost
from formers.lab.report.summary import ArmSummary, StudySummary, problem
from formers.lab.store.pareto import pareto_front
from formers.lab.store.records import Results, Row, TaskMetric


def summarize(results: Results) -> StudySummary:
    """Return `results` by arm: averaged over seeds, ranked, and compared with the base and with the best."""
    groups: dict[str, list[Row]] = {}
    for row in results.rows:
        groups.setdefault(row.arm, []).append(row)
    study = _GroupedRows(groups, results.metric)
    names = [*study.order, *(name for name in groups if name not in study.ranks)]
    return StudySummary(results=results, arms=tuple(study.summary_of(name) for name in names), base=study.base)


class _GroupedRows:
    """The rows of a study by arm, and what the arms are compared by.

    Attributes:
        values: arm → seed → final metric.
        items: arm → seed → metric of each test item.
        order, ranks: the arms with a result, best first, and the rank of each.
        base: the first arm.
        to_base, to_best: arm → its difference to the base, and to the best arm, of those that have one; the intervals
            of either hold for all arms at once.
    """

    def __init__(self, groups: Mapping[str, Sequence[Row]], metric: TaskMetric) -> None:
        self.groups, self.metric = groups, metric
        self.values = {name: _values(rows, metric) for name, rows in groups.items()}
        self.items = {name: _items(rows, self.values[name]) for name, rows in groups.items()}
        self.costs = {name: {cost.name: _cost(rows, cost) for cost in COSTS} for name, rows in groups.items()}
        sign = 1 if metric.lower_is_better else -1
        means = {name: sign * fmean(seeds.values()) for name, seeds in self.values.items() if seeds}
        self.order = sorted(means, key=means.__getitem__)
        self.ranks = {name: index + 1 for index, name in enumerate(self.order)}
        self.base = next(iter(groups), "")
        self.to_base = self.differences(self.base)
        self.to_best = self.differences(self.order[0]) if self.order else {}
        self.fronts = {
            cost.name: pareto_front(means, {name: self.costs[name][cost.name] for name in means})
            for cost in TRADED_COSTS
        }

    def summary_of(self, name: str) -> ArmSummary:
        """Return the summary of one arm."""
        rows, values, costs = self.groups[name], self.values[name], self.costs[name]
        return ArmSummary(
            name=name,
            rows=tuple(rows),
            values=values,
            rank=self.ranks.get(name),
            metric=estimate(list(values.values())) if values else None,
            to_base=self.to_base.get(name),
            to_best=self.to_best.get(name),
            costs=costs,
            to_base_costs={cost: _relative(value, self.costs[self.base][cost]) for cost, value in costs.items()},
            fronts=frozenset(cost for cost, front in self.fronts.items() if name in front),
            status=self.status(name),
            validated=self.metric.name,
        )

    def differences(self, other: str) -> dict[str, Estimate]:
        """Return arm → its difference to the arm `other`, with intervals that hold for all of them."""
        found = {name: self.difference(name, other) for name in self.groups}
        return holm({name: it for name, it in found.items() if it})

    def difference(self, name: str, other: str) -> Estimate | None:
        """Return `name` minus `other` over the seeds that both finished; None without such a seed.

        Pairs share data order and initial weights, which cancel. With one such seed, the pairs are the test items.
        """
        own, others = self.values[name], self.values[other]
        if name == other:
            return None
        shared = [seed for seed in own if seed in others]
        if len(shared) == 1:
            own_items, other_items = self.items[name].get(shared[0]), self.items[other].get(shared[0])
            if own_items is not None and other_items is not None and len(own_items) == len(other_items):
                return estimate_over_items(own_items, other_items)
        pairs = [own[seed] - others[seed] for seed in shared]
        return estimate(pairs) if pairs else None

    def status(self, name: str) -> str:
        """Return `2 of 3`, the seeds that finished, or what went wrong where none did."""
        rows = self.groups[name]
        if self.values[name]:
            return f"{len(self.values[name])} of {len({row.seed for row in rows})}"
        return ", ".join(dict.fromkeys(problem(row, self.metric) for row in rows))


def _values(rows: Sequence[Row], metric: TaskMetric) -> dict[int, float]:
    """Return seed → final metric, for the runs with a result."""
    return {row.seed: row.metrics[metric.name] for row in rows if not problem(row, metric)}


def _items(rows: Sequence[Row], values: Mapping[int, float]) -> dict[int, np.ndarray]:
    """Return seed → the metric of each test item, for the runs that count and have several."""
    items = {row.seed: np.asarray(row.items) for row in rows if row.seed in values and len(row.items) > 1}
    return {seed: array for seed, array in items.items() if np.isfinite(array).all()}


def _cost(rows: Sequence[Row], cost: Cost) -> float | None:
    """Return the mean over the finished runs, or over all of them if none finished; None where nothing was measured."""
    rows = [row for row in rows if row.status == "finished"] or rows
    found = [float(value) for row in rows if (value := getattr(row, cost.name)) is not None]
    found = [value for value in found if math.isfinite(value) and not (cost.zero_is_missing and value == 0)]
    return fmean(found) if found else None


def _relative(value: float | None, base: float | None) -> float | None:
    """Return the relative difference of `value` to `base`; None without both."""
    return value / base - 1 if value is not None and base else None
