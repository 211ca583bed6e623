"""The upright axis that charts of learning curves share, and curves with fewer points."""

from __future__ import annotations

from collections.abc import Sequence

from formers.lab.report.learning_curve import CurvePoint
from formers.lab.report.summary import StudySummary
from formers.plot.geometry import Frame
from formers.plot.scales import Scale, scale


def metric_scale(
    summary: StudySummary, curves: Sequence[Sequence[CurvePoint]], frame: Frame, left_out: float = 0.1
) -> Scale:
    """Return the upright axis of curves. It leaves out the first share of training, which would flatten the rest."""
    last = max(point.step for curve in curves for point in curve)
    late = [point.value for curve in curves for point in curve if point.step >= left_out * last]
    low, high = min(late), max(late)
    near = [value for value in summary.results.references.values() if low - (high - low) <= value <= high]
    return scale(late + near, frame.bottom, frame.top, margin=0.04)


def thinned(curve: Sequence[CurvePoint], most: int) -> Sequence[CurvePoint]:
    """Return at most `most` points, evenly chosen, the first and the last one included."""
    if len(curve) <= most:
        return curve
    last = len(curve) - 1
    return [curve[round(index * last / (most - 1))] for index in range(most)]
