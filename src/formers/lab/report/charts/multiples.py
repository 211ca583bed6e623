"""Learning curves as small multiples: one frame for each arm, all with the same axes, for studies of many arms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from formers.lab.report.charts.curve_axes import metric_scale, thinned
from formers.lab.report.learning_curve import CurvePoint
from formers.lab.report.summary import ArmSummary, StudySummary
from formers.plot.chart import Hover
from formers.plot.geometry import XY, Frame, svg_path
from formers.plot.looks import MAX_LOOKS, SHARED_LOOK, Look
from formers.plot.number_format import fixed
from formers.plot.scales import Scale, Tick

_FRAME = Frame(width=180, height=120, left=34, right=172, top=6, bottom=100)
_MOST = 60
"Frames on a page."
_MAX_POINTS = 40
"Points of one line."
_START = 0.25
"Share of the steps that may lie outside the frame, so that what is small shows how curves end."
_SCALED = 0.75
"Share of the frames whose lines the upright axis holds; those of the worst arms may leave it, and flatten nothing."


@dataclass(frozen=True, kw_only=True)
class SmallCurve:
    """The frame of one arm: its line, and where it ends."""

    name: str
    title: str
    "Its rank and its result, as text."
    look: Look
    line: str
    end: XY
    cut: bool
    "The line ends because every run failed."
    hover: Hover


@dataclass(frozen=True, kw_only=True)
class SmallMultiples:
    """All frames, in the order of the ranking. `base` is the line of the base, drawn behind each of the others."""

    frame: Frame
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    base: str
    curves: tuple[SmallCurve, ...]
    left_out: int
    "Arms that have a curve but no frame."


def small_multiples(summary: StudySummary, looks: Mapping[str, Look]) -> SmallMultiples | None:
    """Return a frame for each of the best arms; None where one chart can hold all of the curves."""
    if len(having := [arm for arm in summary.arms if any(row.curve for row in arm.rows)]) <= MAX_LOOKS:
        return None
    arms = [arm for arm in summary.detailed if len(arm.curve) > 1]
    if not (shown := arms[:_MOST]):
        return None
    x = Scale(low=0, high=max(arm.curve[-1].step for arm in shown) * 1.04 or 1.0, start=_FRAME.left, end=_FRAME.right)
    base = [arm for arm in arms if arm.name == summary.base]
    scaled = [arm.curve for arm in (*base, *shown[: math.ceil(_SCALED * len(shown))])]
    y = metric_scale(summary, scaled, _FRAME, left_out=_START)
    return SmallMultiples(
        frame=_FRAME,
        x_ticks=_few(x.ticks(2)),
        y_ticks=_few(y.ticks(3)),
        base=svg_path(_places(base[0].curve, x, y)) if base else "",
        curves=tuple(_curve(summary, arm, looks.get(arm.name, SHARED_LOOK), x, y) for arm in shown),
        left_out=len(having) - len(shown),
    )


def _curve(summary: StudySummary, arm: ArmSummary, look: Look, x: Scale, y: Scale) -> SmallCurve:
    """Return the frame of an arm."""
    points = thinned(arm.curve, _MAX_POINTS)
    places = _places(points, x, y)
    result = fixed(arm.metric.mean, summary.digits) if arm.metric else arm.status
    return SmallCurve(
        name=arm.name,
        title=f"#{arm.rank} · {result}" if arm.rank else result,
        look=look,
        line=svg_path(places),
        end=(places[-1][0], y.inside(points[-1].value)),
        cut=arm.rank is None,
        hover=Hover(
            points=places, texts=tuple(f"step {point.step} · {fixed(point.value, summary.digits)}" for point in points)
        ),
    )


def _places(curve: Sequence[CurvePoint], x: Scale, y: Scale) -> tuple[XY, ...]:
    return tuple((x(point.step), y(point.value)) for point in thinned(curve, _MAX_POINTS))


def _few(ticks: Sequence[Tick]) -> tuple[Tick, ...]:
    """Return every tick, or every second one of more than three."""
    return tuple(ticks if len(ticks) <= 3 else ticks[::2])
