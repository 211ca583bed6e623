"""Peak memory against a size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from formers.bench.charts.axes import Plane, plane
from formers.bench.summary import BenchSummary, SizePoint
from formers.plot.chart import Chart, Hover, Series
from formers.plot.geometry import svg_path
from formers.plot.looks import SHARED_LOOK, Look
from formers.plot.number_format import size
from formers.plot.scales import unit_for

_BYTES = ((1.0, "B"), (2.0**10, "KiB"), (2.0**20, "MiB"), (2.0**30, "GiB"))


def memory_chart(summary: BenchSummary, phase: str, looks: Mapping[str, Look]) -> Chart | None:
    """Return the chart of a phase; None where nothing took any memory."""
    taking = {
        curve.subject: points
        for curve in summary.curves[phase]
        if (points := [point for point in curve.points if point.row.peak_bytes])
    }
    if not taking:
        return None
    peaks = [_peak(point) for points in taking.values() for point in points]
    unit, unit_name = unit_for(peaks, _BYTES)
    on = plane(summary, phase, peaks, unit)
    series = [_series(name, points, on, looks.get(name, SHARED_LOOK)) for name, points in taking.items()]
    return on.chart(f"memory-{phase}", f"Peak memory ({unit_name})", series)


def _series(name: str, points: Sequence[SizePoint], on: Plane, look: Look) -> Series:
    at = tuple(on.place(on.size(point), _peak(point)) for point in points)
    texts = tuple(f"{on.axis} {on.size(point):,} · {size(point.row.peak_bytes)}" for point in points)
    return Series(
        name=name,
        look=look,
        lines=(svg_path(at),),
        dots=at[:-1],
        mark=at[-1],
        hover=Hover(points=at, texts=texts),
    )


def _peak(point: SizePoint) -> float:
    return float(point.row.peak_bytes or 0)
