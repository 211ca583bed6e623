"""The runs of a search, told apart by their arm and their options."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TypeAlias

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
