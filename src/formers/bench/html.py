"""The page of a bench: one HTML file that opens offline, in the look of the study's report."""

from __future__ import annotations

import base64
from pathlib import Path

from formers.bench.export import to_csv
from formers.bench.figures import figures, looks
from formers.bench.phases import TITLES
from formers.bench.record import Bench, Row
from formers.bench.sizes import AXES
from formers.bench.summary import Summary, summarize
from formers.bench.words import headline, place_text, ratio_text, share_text, status_text, time_interval_text
from formers.lab.report.html import render
from formers.machine.files import write_atomically
from formers.plot.looks import PLAIN
from formers.plot.number_format import count, size


def write_html(bench: Bench, path: Path) -> Path:
    """Writes the page of a bench to `path`, all of it or nothing, and returns `path`."""
    return write_atomically(path, render_html(bench))


def render_html(bench: Bench) -> str:
    """The page: it asks for nothing else, and says the same for the same bench."""
    return render("bench.html.jinja", _contents(summarize(bench)))


def _contents(summary: Summary) -> dict[str, object]:
    bench = summary.bench
    return {
        "bench": bench,
        "summary": summary,
        "title": _title(bench),
        "headline": headline(summary),
        "figures": figures(summary),
        "looks": looks(summary),
        "plain": PLAIN,
        "strips": {},
        "strip_width": 0,
        "strip_references": {},
        "phases": [TITLES[phase] for phase in summary.lines],
        "sizes": _sizes(bench),
        "rate": f"{count(summary.rate)}FLOP/s",
        "spread": f"{100 * summary.spread:.0f} %",
        "coverage": coverage(summary),
        "measured": [_measurement(summary, row) for row in bench.measured],
        "unmeasured": [(row.subject, place_text(row), status_text(row), row.cause) for row in bench.unmeasured],
        "csv": base64.b64encode(to_csv(bench).encode("utf-8", "replace")).decode(),
    }


def _title(bench: Bench) -> str:
    return f"Cost against {bench.axis}"


def _sizes(bench: Bench) -> dict[str, str]:
    """Size → its values."""
    found = {axis: sorted({row.size(axis) for row in bench.measured}) for axis in AXES}
    return {axis: ", ".join(f"{value:,}" for value in values) for axis, values in found.items() if values}


def coverage(summary: Summary) -> str:
    """What the intervals promise, at worst."""
    worst = min((point.time.coverage for point in summary.points.values()), default=0.0)
    return f"{100 * worst:.0f} %"


def _measurement(summary: Summary, row: Row) -> tuple[str, ...]:
    """One line of the table of everything."""
    point = summary.points[row]
    return (
        row.subject,
        TITLES[row.phase],
        f"{row.size(summary.bench.axis):,}",
        time_interval_text(point.time),
        ratio_text(point.ratio),
        size(row.peak_bytes),
        size(row.state_bytes),
        count(row.flops),
        share_text(point.share),
        str(len(row.seconds)),
    )
