"""Learning curves: the ranking metric on the way, of one run and on the mean over runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from formers.lab.store.records import Row


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """The ranking metric on the way: `value` after `step` steps and `seconds` of training."""

    step: int
    seconds: float
    value: float


def learning_curves(rows: Sequence[Row], metric: str) -> tuple[tuple[CurvePoint, ...], ...]:
    """Return the curve of `metric` of each run that has one, without points that are not finite."""
    curves = (
        tuple(
            CurvePoint(step=point.step, seconds=point.seconds, value=value)
            for point in row.curve
            if math.isfinite(value := point.values.get(metric, math.nan)) and math.isfinite(point.seconds)
        )
        for row in rows
    )
    return tuple(curve for curve in curves if curve)


def mean_curve(curves: Sequence[Sequence[CurvePoint]]) -> tuple[CurvePoint, ...]:
    """Return the mean of `curves` at the steps that all of them have."""
    if len(curves) == 1:
        return tuple(curves[0])
    by_step: dict[int, list[CurvePoint]] = {}
    for curve in curves:
        for point in curve:
            by_step.setdefault(point.step, []).append(point)
    return tuple(
        CurvePoint(
            step=step, seconds=fmean(point.seconds for point in points), value=fmean(point.value for point in points)
        )
        for step, points in sorted(by_step.items())
        if len(points) == len(curves)
    )
