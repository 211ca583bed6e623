"""Measured values as short texts; the same ones in every form of a benchmark."""

from __future__ import annotations

import math
from collections.abc import Sequence

from formers.bench.phases import TITLES
from formers.bench.results import Measurement
from formers.bench.statistics.interval import Interval
from formers.bench.summary import BenchSummary, ScalingCurve
from formers.plot.number_format import NOTHING, fixed, significant

_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


def time_text(seconds: float) -> str:
    """Return `1.23 ms` for 0.00123."""
    size, unit = _unit(seconds)
    return f"{significant(seconds / size)} {unit}"


def time_interval_text(time: Interval) -> str:
    """Return `1.23 ms (1.20–1.31)`, all three in the unit of the first."""
    size, unit = _unit(time.median)
    ends = "–".join(significant(end / size) for end in (time.low, time.high))
    return f"{significant(time.median / size)} {unit} ({ends})"


def ratio_text(ratio: Interval | None) -> str:
    """Return `0.123 (0.119–0.131)`; a dash for None."""
    if ratio is None:
        return NOTHING
    return f"{significant(ratio.median)} ({significant(ratio.low)}–{significant(ratio.high)})"


def growth_text(growth: Interval | None) -> str:
    """Return `1.98 (1.95–2.02)`; a dash for None."""
    if growth is None:
        return NOTHING
    if growth.low == growth.high:
        return fixed(growth.median, 2)
    return f"{fixed(growth.median, 2)} ({fixed(growth.low, 2)}–{fixed(growth.high, 2)})"


def share_text(share: float | None) -> str:
    """Return `42 %` for 0.42; a dash for None."""
    return NOTHING if share is None else f"{100 * share:.2g} %" if share < 0.095 else f"{100 * share:.0f} %"


def crossover_text(curve: ScalingCurve, summary: BenchSummary) -> str:
    """Return the sizes at which a subject is faster than the reference: `from 700 (690–712)`, `at every length`."""
    found, axis = curve.crossover, summary.results.axis
    if curve.subject == summary.results.reference:
        return "reference"
    if found is None:
        return NOTHING
    sizes = [point.row.size(axis) for point in curve.points if point.ratio]
    if found.at is None:
        return f"at every {axis}" if found.faster else f"at no {axis} up to {sizes[-1]:,}"
    text = f"{round(found.at.median):,} ({_bound(found.at.low, sizes)}–{_bound(found.at.high, sizes)})"
    return f"from {text}" if found.faster else f"only below {text}"


def place_text(row: Measurement) -> str:
    """Return `forward, length 8,192, …` for a phase and size, `everywhere` for a whole subject."""
    if row.length is None:
        return TITLES[row.phase].lower() if row.phase else "everywhere"
    return (
        f"{TITLES[row.phase].lower()}, length {row.length:,}, width {row.width:,}, heads {row.heads}, batch {row.batch}"
    )


def status_text(row: Measurement) -> str:
    """Return `out of memory`, `too slow`, …"""
    return row.status.replace("_", " ")


def _unit(seconds: float) -> tuple[float, str]:
    """Return the largest unit, (size, name), that does not make `seconds` smaller than 1."""
    return next((unit for unit in _UNITS if seconds >= unit[0]), _UNITS[-1])


def _bound(value: float, sizes: Sequence[int]) -> str:
    """Return an end of a crossover's interval; `<` or `>` and the end of the sizes where some rounds did not cross."""
    return f"<{sizes[0]:,}" if value <= 0 else f">{sizes[-1]:,}" if value == math.inf else f"{round(value):,}"
