"""From the results of a benchmark to its summary: every number that any form of it shows is computed here, once."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median, quantiles

from formers.bench.phases import PHASES
from formers.bench.results import BenchResults, Measurement
from formers.bench.statistics.crossover import Crossover, crossover
from formers.bench.statistics.growth import growth
from formers.bench.statistics.interval import interval, ratios
from formers.bench.summary import BenchSummary, ScalingCurve, SizePoint


def summarize(results: BenchResults) -> BenchSummary:
    """Return the intervals, ratios, exponents and crossovers of `results`."""
    return _Measured(results).summary()


class _Measured:
    """The measurements with a time, each with its point, and those of the reference by (phase, size)."""

    def __init__(self, results: BenchResults) -> None:
        self.results = results
        references = [row for row in results.measured if row.subject == results.reference]
        self.references = {(row.phase, row.size(results.axis)): row for row in references}
        self.points = {row: self.point(row) for row in results.measured}

    def summary(self) -> BenchSummary:
        """Return the summary of everything."""
        curves = {phase: self.curves(phase) for phase in PHASES}
        cells = {(row.phase, row.size(self.results.axis)): row for row in self.points}
        times = [time for row in cells.values() for time in row.yardstick]  # shared by all subjects of a phase and size
        return BenchSummary(
            results=self.results,
            curves={phase: found for phase, found in curves.items() if found},
            points=self.points,
            spread=_spread(times),
            rate=self.results.product_flops / median(times) if times else 0.0,
        )

    def point(self, row: Measurement) -> SizePoint:
        """Return a measurement with its interval, compared with the reference at the same size."""
        reference = self.references.get((row.phase, row.size(self.results.axis)))
        compared = ratios(row.seconds, reference.seconds) if reference and reference is not row else []
        return SizePoint(
            row=row,
            time=interval(row.seconds),
            ratio=interval(compared) if compared else None,
            share=_share(row, self.results.product_flops),
        )

    def curves(self, phase: str) -> tuple[ScalingCurve, ...]:
        """Return the curves of a phase: those that come furthest first, among them the fastest first."""
        names = dict.fromkeys(row.subject for row in self.points if row.phase == phase)
        found = [self.curve(name, phase) for name in names]
        return tuple(sorted(found, key=lambda one: (-one.last.row.size(self.results.axis), one.last.time.median)))

    def curve(self, subject: str, phase: str) -> ScalingCurve:
        """Return one subject in one phase, over all sizes."""
        axis = self.results.axis
        rows = [row for row in self.points if (row.subject, row.phase) == (subject, phase)]
        rows.sort(key=lambda row: row.size(axis))
        taking = [row for row in rows if row.peak_bytes]
        return ScalingCurve(
            subject=subject,
            kind=rows[0].kind,
            phase=phase,
            points=tuple(self.points[row] for row in rows),
            growth=growth([row.size(axis) for row in rows], [row.seconds for row in rows]),
            memory_growth=growth([row.size(axis) for row in taking], [[float(row.peak_bytes or 0)] for row in taking]),
            crossover=self.crossover(rows) if subject != self.results.reference else None,
        )

    def crossover(self, rows: Sequence[Measurement]) -> Crossover | None:
        """Return where a subject with these rows, by size, overtakes the reference; None without its times."""
        keys = [(row.phase, row.size(self.results.axis)) for row in rows]
        shared = [(row, self.references[key]) for row, key in zip(rows, keys, strict=True) if key in self.references]
        sizes = [row.size(self.results.axis) for row, _ in shared]
        return crossover(sizes, [ratios(row.seconds, reference.seconds) for row, reference in shared])


def _share(row: Measurement, product_flops: float) -> float | None:
    """Return operations in a second over those of the yardstick: the median over the rounds. None where not counted."""
    if not row.flops:
        return None
    rates = [row.flops / time / (product_flops / best) for time, best in zip(row.seconds, row.yardstick, strict=True)]
    return median(rates)


def _spread(times: list[float]) -> float:
    """Return the distance of the quarter points, relative to the median."""
    if len(times) < 2:
        return 0.0
    low, _, high = quantiles(times, n=4, method="inclusive")
    return (high - low) / median(times)
