"""Quality on the parts of the test split that a task tells apart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from formers.lab.report.confidence_interval import Estimate, estimate
from formers.lab.report.summary import ArmSummary, StudySummary


@dataclass(frozen=True, kw_only=True)
class Slices:
    """One way of dividing the test split: arm → its metric on each of `labels`, over seeds, None where it has none."""

    title: str
    labels: tuple[str, ...]
    values: Mapping[str, tuple[Estimate | None, ...]]


def all_slices(summary: StudySummary) -> list[Slices]:
    """Return every way of dividing that some run has, labels in the order of the run that has most of them."""
    titles = dict.fromkeys(title for arm in summary.ranked for row in arm.rows for title in row.slices)
    return [_slices(summary, title) for title in titles]


def _slices(summary: StudySummary, title: str) -> Slices:
    parts = sorted((row.slices.get(title, {}) for arm in summary.ranked for row in arm.rows), key=len, reverse=True)
    labels = tuple(dict.fromkeys(label for part in parts for label in part))
    values = {arm.name: tuple(_estimate(arm, title, label) for label in labels) for arm in summary.detailed}
    return Slices(title=title, labels=labels, values={name: found for name, found in values.items() if any(found)})


def _estimate(arm: ArmSummary, title: str, label: str) -> Estimate | None:
    found = [row.slices.get(title, {}).get(label, math.nan) for row in arm.rows if row.seed in arm.values]
    found = [value for value in found if math.isfinite(value)]
    return estimate(found) if found else None
