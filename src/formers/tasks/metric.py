"""Metrics: how to read a number that a task measures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TaskMetric:
    """How to read a metric.

    Attributes:
        name: its name in `Row.metrics`.
        label: what to call it.
        against: the cost, a number of `Row`, that the first picture of a report draws it against.
    """

    name: str
    label: str
    unit: str = ""
    lower_is_better: bool = True
    against: str = "train_seconds"
