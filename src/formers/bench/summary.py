"""A benchmark as its reader sees it: every subject against the size, with intervals, growth and crossovers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from formers.bench.results import BenchResults, Measurement
from formers.bench.statistics.crossover import Crossover
from formers.bench.statistics.interval import Interval

STEADY = 0.1
"Largest `BenchSummary.spread` of a steady machine."


@dataclass(frozen=True, kw_only=True)
class SizePoint:
    """One measurement: its time, time / the reference's within the rounds, and its share of the yardstick's rate."""

    row: Measurement
    time: Interval
    ratio: Interval | None
    share: float | None


@dataclass(frozen=True, kw_only=True)
class ScalingCurve:
    """One subject in one phase, over all sizes.

    Attributes:
        points: by size, ascending.
        growth: the exponent of time at the large end.
        memory_growth: that of the peak memory.
        crossover: the size from which it is faster, or slower, than the reference; None without a reference, or for it.
    """

    subject: str
    kind: str
    phase: str
    points: tuple[SizePoint, ...]
    growth: Interval | None
    memory_growth: Interval | None
    crossover: Crossover | None

    @property
    def last(self) -> SizePoint:
        """Return the point at the largest size."""
        return self.points[-1]


@dataclass(frozen=True, kw_only=True)
class BenchSummary:
    """The curves of a benchmark, and the state of the machine.

    Attributes:
        curves: phase → its curves: those that come furthest first, among them the fastest first.
        points: measurement → its point, for those with a time.
        spread: distance of the quarter points of the yardstick's times, relative to their median.
        rate: operations in a second of the yardstick.
    """

    results: BenchResults
    curves: Mapping[str, tuple[ScalingCurve, ...]]
    points: Mapping[Measurement, SizePoint]
    spread: float
    rate: float

    @property
    def steady(self) -> bool:
        """Return whether the machine was calm enough for small differences."""
        return self.spread <= STEADY

    def subjects(self) -> list[str]:
        """Return the subjects with a time, in the order in which they were given."""
        return list(dict.fromkeys(row.subject for row in self.results.measured))

    def largest(self, phase: str) -> int:
        """Return the largest size that was measured."""
        return max(curve.last.row.size(self.results.axis) for curve in self.curves[phase])

    def sizes(self, phase: str) -> list[int]:
        """Return all sizes that were measured, ascending."""
        points = (point for curve in self.curves[phase] for point in curve.points)
        return sorted({point.row.size(self.results.axis) for point in points})
