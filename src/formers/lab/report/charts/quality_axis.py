"""The axis of the ranking metric, and the references on it."""

from __future__ import annotations

import math
from statistics import median

from formers.lab.report.summary import StudySummary
from formers.plot.chart import ReferenceLine
from formers.plot.number_format import fixed
from formers.plot.scales import Scale, scale


def quality_scale(summary: StudySummary, start: float, end: float, *, margin: float = 0.06, reach: float = 3) -> Scale:
    """Return a scale from the best arm to `reach` times as far as the median arm is behind it.

    So one bad arm hides nothing; it lies beyond the scale.
    """
    means = [arm.metric.mean for arm in summary.ranked if arm.metric]
    farthest = reach * abs(median(means) - means[0]) or math.inf
    shown = [arm for arm, mean in zip(summary.ranked, means, strict=True) if abs(mean - means[0]) <= farthest]
    values = [value for arm in shown for value in arm.values.values()]
    near = [value for value in summary.results.references.values() if abs(value - means[0]) <= farthest]
    return scale([*values, *(near if math.isfinite(farthest) else [])], start, end, margin)


def arrow_beyond(value: float, axis: Scale) -> str:
    """Return the arrow that follows the name of what lies outside an upright axis; empty for what lies within."""
    return " ↑" if value > axis.high else " ↓" if value < axis.low else ""


def reference_lines(summary: StudySummary, axis: Scale) -> tuple[ReferenceLine, ...]:
    """Return the references of a study as lines across a chart with an upright `axis` of the metric."""
    lines = []
    for name, value in summary.results.references.items():
        if not math.isfinite(value):
            continue
        arrow = arrow_beyond(value, axis)
        text = f"{name} {fixed(value, summary.digits)}{arrow}"
        lines.append(ReferenceLine(y=axis.inside(value), text=text, beyond=bool(arrow)))
    return tuple(lines)
