"""The learning curves of a study in one chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from formers.lab.report.charts.curve_axes import metric_scale, thinned
from formers.lab.report.charts.quality_axis import reference_lines
from formers.lab.report.learning_curve import CurvePoint
from formers.lab.report.summary import ArmSummary, StudySummary
from formers.plot.chart import Chart, Hover, Series
from formers.plot.geometry import XY, Frame, svg_path
from formers.plot.looks import Look
from formers.plot.number_format import duration, fixed
from formers.plot.scales import Scale, unit_for

XAxis: TypeAlias = Literal["step", "seconds"]

_FRAME = Frame(width=640, height=400, left=50, right=628, top=12, bottom=346)
_MAX_POINTS = 120
"Points of one drawn line."
_TIMES = ((1.0, "s"), (60.0, "min"), (3600.0, "h"))


def learning_chart(summary: StudySummary, looks: Mapping[str, Look], by: XAxis) -> Chart | None:
    """Return the learning curves of the arms in `looks` against steps or training time; None without any."""
    arms = [arm for arm in summary.arms if arm.name in looks and len(arm.curve) > 1]
    if not arms:
        return None
    values: list[float] = [getattr(point, by) for arm in arms for point in arm.curve]
    unit, unit_name = unit_for(values, _TIMES) if by == "seconds" else (1.0, "")
    x = Scale(low=0, high=max(values) / unit * 1.02 or 1.0, start=_FRAME.left, end=_FRAME.right)
    lines = [curve for arm in arms for curve in (arm.curve, *arm.seed_curves)]
    axes = _Axes(by=by, unit=unit, x=x, y=metric_scale(summary, lines, _FRAME))
    return Chart(
        name=by,
        title=f"Validation {summary.metric.label} against {'training time' if by == 'seconds' else 'steps'}",
        frame=_FRAME,
        x_label=f"training time ({unit_name})" if by == "seconds" else "steps",
        x_ticks=tuple(x.ticks(6)),
        y_ticks=tuple(axes.y.ticks(6)),
        series=tuple(_series(arm, looks[arm.name], axes, summary.digits) for arm in arms),
        references=reference_lines(summary, axes.y),
    )


@dataclass(frozen=True, kw_only=True)
class _Axes:
    """From points of a curve to places in the chart; `x` is in `unit`s."""

    by: XAxis
    unit: float
    x: Scale
    y: Scale

    def places(self, curve: Sequence[CurvePoint]) -> tuple[XY, ...]:
        """Return the places of the points of a curve."""
        return tuple((self.x(getattr(point, self.by) / self.unit), self.y(point.value)) for point in curve)


def _series(arm: ArmSummary, look: Look, axes: _Axes, digits: int) -> Series:
    """Return the mean curve of an arm, and the curves of single seeds as thin lines."""
    points = thinned(arm.curve, _MAX_POINTS)
    mean = axes.places(points)
    return Series(
        name=arm.name,
        look=look,
        lines=(svg_path(mean), *(svg_path(axes.places(thinned(curve, _MAX_POINTS))) for curve in arm.seed_curves)),
        mark=mean[-1],
        cut=arm.rank is None,
        hover=Hover(
            points=mean,
            texts=tuple(f"step {p.step} · {duration(p.seconds)} · {fixed(p.value, digits)}" for p in points),
        ),
    )
