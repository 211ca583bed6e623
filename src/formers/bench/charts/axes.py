"""The doubly logarithmic plane of a benchmark's charts: its frame, scales and ticks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from formers.bench.summary import BenchSummary, SizePoint
from formers.plot.chart import Chart, Series
from formers.plot.geometry import XY, Frame
from formers.plot.scales import Scale, Tick, scale

FRAME = Frame(width=480, height=330, left=52, right=466, top=12, bottom=284)
_MAX_TICKS = 7


@dataclass(frozen=True, kw_only=True)
class Plane:
    """From (size, cost) to places in the chart; costs are divided by `unit` first."""

    axis: str
    sizes: tuple[int, ...]
    x: Scale
    y: Scale
    unit: float

    def place(self, size: float, cost: float) -> XY:
        """Return the place of a cost at a size."""
        return (self.x(size), self.height(cost))

    def height(self, cost: float) -> float:
        """Return the place of a cost along the upright axis."""
        return self.y(cost / self.unit)

    def size(self, point: SizePoint) -> int:
        """Return the size of a point."""
        return point.row.size(self.axis)

    def chart(self, name: str, title: str, series: Sequence[Series]) -> Chart:
        """Return a chart of `series` in this plane."""
        return Chart(
            name=name,
            title=f"{title} against {self.axis}",
            frame=FRAME,
            x_label=f"{self.axis}, both axes logarithmic",
            x_ticks=tuple(_thinned([(self.x(size), f"{size:,}") for size in self.sizes])),
            y_ticks=tuple(_value_ticks(self.y)),
            series=tuple(series),
        )


def plane(summary: BenchSummary, phase: str, costs: Sequence[float], unit: float) -> Plane:
    """Return the plane that holds `costs` at the sizes of a phase."""
    sizes = tuple(summary.sizes(phase))
    x = scale([float(size) for size in sizes], FRAME.left + 10, FRAME.right - 10, margin=0.02, log=True)
    y = scale([cost / unit for cost in costs], FRAME.bottom, FRAME.top, log=True)
    return Plane(axis=summary.results.axis, sizes=sizes, x=x, y=y, unit=unit)


def _value_ticks(y: Scale) -> list[Tick]:
    """Return round values: 1, 2 and 5 in each decade, or equal steps where too few of these fall into the scale."""
    ticks = y.ticks(5)
    if len(ticks) > 2:
        return _thinned(ticks)
    even = Scale(low=y.low, high=y.high, start=y.low, end=y.high)
    step = [(float(text.replace("−", "-")), text) for _, text in even.ticks(5)]
    return [(y(value), text) for value, text in step]


def _thinned(ticks: Sequence[Tick]) -> list[Tick]:
    """Return every tick, or where they are too many the powers of ten, or else every second, third, …"""
    powers = [tick for tick in ticks if tick[1].strip("0.") == "1"]
    if len(ticks) > _MAX_TICKS and len(powers) > 2:
        return powers
    step = -(-len(ticks) // _MAX_TICKS)
    return list(ticks[::step])
