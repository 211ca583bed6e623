"""The page of a benchmark: one HTML file that opens offline, in the look of the study's report."""

from __future__ import annotations

from pathlib import Path

from formers.bench.charts.figures import figures, subject_looks
from formers.bench.csv_text import to_csv
from formers.bench.headline import headline
from formers.bench.phases import TITLES
from formers.bench.results import BenchResults, Measurement
from formers.bench.sizes import AXES
from formers.bench.summarize import summarize
from formers.bench.summary import BenchSummary
from formers.bench.value_text import place_text, ratio_text, share_text, status_text, time_interval_text
from formers.machine.files import write_atomically
from formers.plot.number_format import count, size
from formers.plot.page import csv_download, render_page


def write_html(results: BenchResults, path: Path) -> Path:
    """Write the page of a benchmark to `path`, all of it or nothing, and return `path`."""
    return write_atomically(path, render_html(results))


def render_html(results: BenchResults) -> str:
    """Return one page that makes no request; the same results give the same page."""
    summary = summarize(results)
    contents = {
        "results": results,
        "title": f"Cost against {results.axis}",
        "headline": headline(summary),
        "figures": figures(summary),
        "looks": subject_looks(summary),
        "sizes": _sizes(results),
        "rate": f"{count(summary.rate)}FLOP/s",
        "spread": f"{100 * summary.spread:.0f} %",
        "coverage": _coverage(summary),
        "measured": [_cells(summary, row) for row in results.measured],
        "unmeasured": [(row.subject, place_text(row), status_text(row), row.cause) for row in results.unmeasured],
        "csv_link": csv_download(to_csv(results)),
    }
    return render_page("bench/bench.html.jinja", contents)


def _sizes(results: BenchResults) -> dict[str, str]:
    """Return size → its values."""
    found = {axis: sorted({row.size(axis) for row in results.measured}) for axis in AXES}
    return {axis: ", ".join(f"{value:,}" for value in values) for axis, values in found.items() if values}


def _coverage(summary: BenchSummary) -> str:
    """Return the coverage of the intervals, at worst."""
    worst = min((point.time.coverage for point in summary.points.values()), default=0.0)
    return f"{100 * worst:.0f} %"


def _cells(summary: BenchSummary, row: Measurement) -> tuple[str, ...]:
    """Return one row of the table of all measurements."""
    point = summary.points[row]
    return (
        row.subject,
        TITLES[row.phase],
        f"{row.size(summary.results.axis):,}",
        time_interval_text(point.time),
        ratio_text(point.ratio),
        size(row.peak_bytes),
        size(row.state_bytes),
        count(row.flops),
        share_text(point.share),
        str(len(row.seconds)),
    )
