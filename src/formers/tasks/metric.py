"""Metrics: how to read a number that a task measures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TaskMetric:
    """How to read a metric: its name in `Row.metrics`, what to call it, its unit, and which way is better."""

    name: str
    label: str
    unit: str = ""
    lower_is_better: bool = True
