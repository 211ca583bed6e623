"""The figures of a benchmark: for each phase its charts, and a table at the largest size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from formers.bench.charts.memory import memory_chart
from formers.bench.charts.time import time_chart
from formers.bench.phases import MEANINGS, TITLES
from formers.bench.results import BenchResults
from formers.bench.summarize import summarize
from formers.bench.summary import BenchSummary
from formers.bench.table import cells, columns
from formers.plot.chart import Chart
from formers.plot.looks import SHARED_LOOK, Look, assign_looks


@dataclass(frozen=True, kw_only=True)
class FigureRow:
    """One subject in the table of a figure."""

    look: Look
    subject: str
    cells: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ScalingFigure:
    """One phase: its charts, and a table at `size`, the largest value of `axis`."""

    phase: str
    title: str
    meaning: str
    charts: tuple[Chart, ...]
    columns: tuple[str, ...]
    rows: tuple[FigureRow, ...]
    axis: str
    size: int


def scaling_figures(results: BenchResults) -> tuple[ScalingFigure, ...]:
    """Return a figure for each phase that was measured, for any page that imports `scaling_figure.html.jinja`."""
    return figures(summarize(results))


def figures(summary: BenchSummary) -> tuple[ScalingFigure, ...]:
    """Return `scaling_figures` of results that are summarised already."""
    looks = subject_looks(summary)
    return tuple(_figure(summary, phase, looks) for phase in summary.curves)


def subject_looks(summary: BenchSummary) -> dict[str, Look]:
    """Return subject → look, in the order in which the subjects were given."""
    return assign_looks(summary.subjects())


def _figure(summary: BenchSummary, phase: str, looks: Mapping[str, Look]) -> ScalingFigure:
    several = len(summary.sizes(phase)) > 1
    charts = [time_chart(summary, phase, looks), memory_chart(summary, phase, looks)] if several else []
    return ScalingFigure(
        phase=phase,
        title=TITLES[phase],
        meaning=MEANINGS[phase],
        charts=tuple(chart for chart in charts if chart is not None),
        columns=columns(summary, phase),
        rows=tuple(
            FigureRow(look=looks.get(curve.subject, SHARED_LOOK), subject=curve.subject, cells=cells(curve, summary))
            for curve in summary.curves[phase]
        ),
        axis=summary.results.axis,
        size=summary.largest(phase),
    )
