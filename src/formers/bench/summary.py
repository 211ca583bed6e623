"""The rows of a bench, summarised: every number that any form of it shows is computed here, once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median, quantiles

from formers.bench.crossover import Crossover, crossover
from formers.bench.growth import growth
from formers.bench.interval import Interval, interval, ratios
from formers.bench.phases import PHASES
from formers.bench.record import Bench, Row

STEADY = 0.1
"""How far apart the quarter points of the yardstick's times may lie, relative to their median, on a steady machine."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One measured row: its time, time / the reference's within the rounds, and its share of the product's rate."""

    row: Row
    time: Interval
    ratio: Interval | None
    share: float | None


@dataclass(frozen=True, kw_only=True)
class Line:
    """One subject in one phase, over all sizes.

    Attributes:
        points: by size, ascending.
        growth: the exponent of time at the large end.
        memory_growth: that of the peak memory.
        crossover: since where it is faster, or slower, than the reference; None for the reference itself, and without it.
        missing: the row of the first size that could not be measured.
    """

    subject: str
    kind: str
    phase: str
    points: tuple[Point, ...]
    growth: Interval | None
    memory_growth: Interval | None
    crossover: Crossover | None
    missing: Row | None

    @property
    def last(self) -> Point:
        """At the largest size."""
        return self.points[-1]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A bench as its reader sees it.

    Attributes:
        lines: phase → its lines: those that come furthest first, among them the fastest first.
        points: row → its point, for the measured ones.
        spread: distance of the quarter points of the yardstick's times, relative to their median.
        rate: operations in a second of the yardstick.
    """

    bench: Bench
    lines: Mapping[str, tuple[Line, ...]]
    points: Mapping[Row, Point]
    spread: float
    rate: float

    @property
    def steady(self) -> bool:
        return self.spread <= STEADY

    def subjects(self) -> list[str]:
        """Those with a time, in the order in which they were given."""
        return list(dict.fromkeys(row.subject for row in self.bench.measured))

    def largest(self, phase: str) -> int:
        """The largest size that was measured."""
        return max(line.last.row.size(self.bench.axis) for line in self.lines[phase])


def summarize(bench: Bench) -> Summary:
    """Intervals, ratios, exponents and crossovers of a bench."""
    places = {(row.subject, row.phase, row.size(bench.axis)): row for row in bench.measured}

    def point(row: Row) -> Point:
        reference = places.get((bench.reference, row.phase, row.size(bench.axis)))
        compared = ratios(row.seconds, reference.seconds) if reference and reference is not row else []
        return Point(
            row=row,
            time=interval(row.seconds),
            ratio=interval(compared) if compared else None,
            share=share(row, bench.product_flops),
        )

    points = {row: point(row) for row in bench.measured}
    lines = {phase: _in_order(bench, phase, points, places) for phase in PHASES}
    times = [
        time for row in {(r.phase, r.size(bench.axis)): r for r in bench.measured}.values() for time in row.yardstick
    ]
    return Summary(
        bench=bench,
        lines={phase: found for phase, found in lines.items() if found},
        points=points,
        spread=spread(times),
        rate=bench.product_flops / median(times) if times else 0.0,
    )


def _in_order(
    bench: Bench, phase: str, points: Mapping[Row, Point], places: Mapping[tuple[str, str, int], Row]
) -> tuple[Line, ...]:
    names = dict.fromkeys(row.subject for row in points if row.phase == phase)
    lines = [_line(bench, name, phase, points, places) for name in names]
    return tuple(sorted(lines, key=lambda one: (-one.last.row.size(bench.axis), one.last.time.median)))


def _line(
    bench: Bench, subject: str, phase: str, points: Mapping[Row, Point], places: Mapping[tuple[str, str, int], Row]
) -> Line:
    rows = sorted(
        (row for row in points if (row.subject, row.phase) == (subject, phase)), key=lambda row: row.size(bench.axis)
    )
    sizes = [row.size(bench.axis) for row in rows]
    shared = [
        (size, row, places[key])
        for size, row in zip(sizes, rows, strict=True)
        if (key := (bench.reference, phase, size)) in places
    ]
    with_memory = [row for row in rows if row.peak_bytes]
    compared = [ratios(row.seconds, reference.seconds) for _, row, reference in shared]
    return Line(
        subject=subject,
        kind=rows[0].kind,
        phase=phase,
        points=tuple(points[row] for row in rows),
        growth=growth(sizes, [row.seconds for row in rows]),
        memory_growth=growth(
            [row.size(bench.axis) for row in with_memory], [[float(row.peak_bytes or 0)] for row in with_memory]
        ),
        crossover=crossover([size for size, *_ in shared], compared) if subject != bench.reference else None,
        missing=next((row for row in bench.unmeasured if (row.subject, row.phase) == (subject, phase)), None),
    )


def share(row: Row, product_flops: float) -> float | None:
    """Of the yardstick's operations in a second, those of a row: the median over the rounds."""
    if not row.flops:
        return None
    rates = [row.flops / time / (product_flops / best) for time, best in zip(row.seconds, row.yardstick, strict=True)]
    return median(rates)


def spread(times: list[float]) -> float:
    if len(times) < 2:
        return 0.0
    low, _, high = quantiles(times, n=4, method="inclusive")
    return (high - low) / median(times)
