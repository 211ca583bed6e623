"""Time against a size: thin upright lines are the intervals, rings the crossovers with the reference."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from formers.bench.charts.axes import FRAME, Plane, plane
from formers.bench.summary import BenchSummary, ScalingCurve, SizePoint
from formers.bench.value_text import ratio_text, time_interval_text
from formers.plot.chart import Chart, Hover, Series
from formers.plot.geometry import svg_path
from formers.plot.labels import place_labels
from formers.plot.looks import SHARED_LOOK, Look
from formers.plot.scales import unit_for

_TIMES = ((1e-6, "µs"), (1e-3, "ms"), (1.0, "s"))
_RING = "M-7 0a7 7 0 1 0 14 0a7 7 0 1 0-14 0z"


def time_chart(summary: BenchSummary, phase: str, looks: Mapping[str, Look]) -> Chart:
    """Return the chart of a phase."""
    curves = summary.curves[phase]
    points = [point for curve in curves for point in curve.points]
    unit, unit_name = unit_for([point.time.median for point in points], _TIMES)
    on = plane(summary, phase, [end for point in points for end in (point.time.low, point.time.high)], unit)
    series = [_series(curve, on, looks.get(curve.subject, SHARED_LOOK)) for curve in curves]
    reference = next((curve for curve in curves if curve.subject == summary.results.reference), None)
    if reference is not None:
        rings = [_ring(curve, reference, on, looks.get(curve.subject, SHARED_LOOK)) for curve in curves]
        series += _labelled([ring for ring in rings if ring is not None])
    return on.chart(f"time-{phase}", f"Time ({unit_name})", series)


def _series(curve: ScalingCurve, on: Plane, look: Look) -> Series:
    """Return the line of a subject, with its intervals."""
    at = tuple(on.place(on.size(point), point.time.median) for point in curve.points)
    intervals = (
        f"M{x:g} {on.height(point.time.low):g}V{on.height(point.time.high):g}"
        for (x, _), point in zip(at, curve.points, strict=True)
    )
    return Series(
        name=curve.subject,
        look=look,
        lines=(svg_path(at), *intervals),
        dots=at[:-1],
        mark=at[-1],
        hover=Hover(points=at, texts=tuple(_hover_text(point, on) for point in curve.points)),
    )


def _hover_text(point: SizePoint, on: Plane) -> str:
    ratio = f" · {ratio_text(point.ratio)} × the reference" if point.ratio else ""
    return f"{on.axis} {on.size(point):,} · {time_interval_text(point.time)}{ratio}"


def _ring(curve: ScalingCurve, reference: ScalingCurve, on: Plane, look: Look) -> tuple[str, Series] | None:
    """Return the size at which a subject crosses the reference, and a ring there; None where it does not."""
    found = curve.crossover
    if found is None or found.at is None:
        return None
    size = found.at.median
    at = on.place(size, _time_at(size, reference, on))
    order = "faster" if found.faster else "slower"
    text = f"{order} than {reference.subject} from {on.axis} {round(size):,}"
    ring = Series(
        name=curve.subject,
        look=Look(colour=look.colour, shape=_RING),
        mark=at,
        filled=False,
        hover=Hover(points=(at,), texts=(text,)),
    )
    return f"{round(size):,}", ring


def _labelled(rings: Sequence[tuple[str, Series]]) -> list[Series]:
    """Return the rings with their sizes beside them, as far as there is room; equal sizes are written once."""
    labels = place_labels([(text, ring.mark) for text, ring in rings], FRAME.box, [])
    return [replace(ring, label=labels.pop(text, None)) for text, ring in rings]


def _time_at(size: float, curve: ScalingCurve, on: Plane) -> float:
    """Return the time at a size between two that were measured, interpolated on the doubly logarithmic plane."""
    known = [(on.size(point), point.time.median) for point in curve.points]
    for (low, before), (high, after) in itertools.pairwise(known):
        if low <= size <= high:
            share = math.log(size / low) / math.log(high / low)
            return math.exp(math.log(before) + share * math.log(after / before))
    return known[-1][1]
