"""The runs of a search, told apart by their arm and their options."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TypeAlias

from formers.lab.store.pareto import pareto_front
from formers.lab.store.records import Row
from formers.tasks.metric import TaskMetric

TrialKey: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]
"""An arm's name, and its searched options with their values."""


def trial_key(arm: str, options: Mapping[str, str]) -> TrialKey:
    """Return what tells the candidates of a study apart."""
    return arm, tuple(sorted(options.items()))


def mean_validation(rows: Sequence[Row], metric: TaskMetric) -> dict[TrialKey, float]:
    """Return candidate → its mean validation metric over seeds, for those that finished with every seed."""
    groups: dict[TrialKey, list[float]] = {}
    for row in rows:
        value = row.validation.get(metric.name, math.nan) if row.status == "finished" else math.nan
        groups.setdefault(trial_key(row.arm, row.options), []).append(value)
    return {name: fmean(values) for name, values in groups.items() if all(map(math.isfinite, values))}


def trial_name(number: int) -> str:
    """Return the name of a trial of a larger search, as an arm."""
    return f"trial {number}"


def trial_number(name: str) -> int:
    """Return the number in the name of a trial."""
    return int(name.removeprefix("trial "))


def front_of(rows: Sequence[Row], metric: TaskMetric, cost: str) -> list[str]:
    """Return the trials that no other beats in quality on validation without a higher `cost`, the cheapest first.

    Of trials that are equal in both, the first one is there.
    """
    values = mean_validation(rows, metric)
    sign = 1 if metric.lower_is_better else -1
    losses: dict[str, float] = {}
    costs: dict[str, float] = {}
    for row in rows:
        value, spent = values.get(trial_key(row.arm, row.options)), getattr(row, cost)
        if (
            value is not None
            and spent is not None
            and (sign * value, spent) not in zip(losses.values(), costs.values(), strict=True)
        ):
            losses[row.arm], costs[row.arm] = sign * value, spent
    return sorted(pareto_front(losses, costs), key=costs.__getitem__)


def thinned(front: Sequence[str], most: int) -> list[str]:
    """Return at most so many of a front, the last and the first of it and others evenly between them."""
    if len(front) <= most:
        return list(front)
    steps = max(1, most - 1)
    return [front[round((len(front) - 1) * (1 - k / steps))] for k in range(most)][::-1]
