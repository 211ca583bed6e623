"""What a bench found, in words and short texts; the same ones in every form of it."""

from __future__ import annotations

from collections.abc import Sequence

from formers.bench.interval import Interval
from formers.bench.phases import TITLES
from formers.bench.record import Row
from formers.bench.summary import STEADY, Line, Summary
from formers.plot.number_format import NOTHING, significant

_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


def _time_text(seconds: float) -> str:
    """0.00123 → 1.23 ms."""
    size, unit = next((unit for unit in _UNITS if seconds >= unit[0]), _UNITS[-1])
    return f"{significant(seconds / size)} {unit}"


def time_interval_text(time: Interval) -> str:
    """`1.23 ms (1.20–1.31)`, all three in the unit of the first."""
    size, unit = next((unit for unit in _UNITS if time.median >= unit[0]), _UNITS[-1])
    ends = "–".join(significant(end / size) for end in (time.low, time.high))
    return f"{significant(time.median / size)} {unit} ({ends})"


def ratio_text(ratio: Interval | None) -> str:
    """`0.123 (0.119–0.131)`; a dash where there is nothing to compare with."""
    if ratio is None:
        return NOTHING
    return f"{significant(ratio.median)} ({significant(ratio.low)}–{significant(ratio.high)})"


def growth_text(growth: Interval | None) -> str:
    """`1.98 (1.95–2.02)`."""
    if growth is None:
        return NOTHING
    if growth.low == growth.high:
        return _signed(growth.median)
    return f"{_signed(growth.median)} ({_signed(growth.low)}–{_signed(growth.high)})"


def _signed(value: float) -> str:
    return f"{value + 0.0:.2f}".replace("-0.00", "0.00").replace("-", "−")


def share_text(share: float | None) -> str:
    """`42 %`."""
    return NOTHING if share is None else f"{100 * share:.2g} %" if share < 0.095 else f"{100 * share:.0f} %"


def crossover_text(line: Line, summary: Summary) -> str:
    """Since where a subject is faster than the reference, or that it is not."""
    found, axis = line.crossover, summary.bench.axis
    if line.subject == summary.bench.reference:
        return "reference"
    if found is None:
        return NOTHING
    sizes = [point.row.size(axis) for point in line.points if point.ratio]
    if found.at is None:
        return f"at every {axis}" if found.faster else f"at no {axis} up to {sizes[-1]:,}"
    text = f"{round(found.at.median):,} ({_bound(found.at.low, sizes)}–{_bound(found.at.high, sizes)})"
    return f"from {text}" if found.faster else f"only below {text}"


def _bound(value: float, sizes: Sequence[int]) -> str:
    """An end of a crossover's interval; an arrow where some rounds did not cross."""
    return f"<{sizes[0]:,}" if value <= 0 else f">{sizes[-1]:,}" if value == float("inf") else f"{round(value):,}"


def headline(summary: Summary) -> tuple[str, ...]:
    """The sentences that open a report, the most important first."""
    if not summary.lines:
        return ("Nothing could be timed.", *_set_aside(summary))
    phase = "training" if "training" in summary.lines else next(iter(summary.lines))
    return (*_fastest(summary, phase), *_crossings(summary, phase), *_steadiness(summary), *_set_aside(summary))


def _fastest(summary: Summary, phase: str) -> list[str]:
    """Who is ahead at the largest size. Kernels have no projections and do not take part."""
    axis, largest = summary.bench.axis, summary.largest(phase)
    lines = [line for line in summary.lines[phase] if line.kind != "kernel" and line.last.row.size(axis) == largest]
    if len(lines) < 2:
        return []
    best = min(lines, key=lambda line: line.last.time.median)
    what = TITLES[phase].lower()
    told = f"“{best.subject}” is the fastest mixer at {axis} {largest:,}: {what} in {_time_text(best.last.time.median)}"
    if best.last.ratio is not None:
        told += f", {significant(best.last.ratio.median, 2)} × the time of “{summary.bench.reference}”"
    return [told + "."]


def _crossings(summary: Summary, phase: str) -> list[str]:
    """Where the reference is overtaken."""
    reference = summary.bench.reference
    lines = [line for line in summary.lines[phase] if line.crossover is not None and line.kind != "kernel"]
    if not lines:
        return []
    told = "; ".join(f"“{line.subject}” {crossover_text(line, summary)}" for line in lines)
    return [f"Faster than “{reference}” in {TITLES[phase].lower()}: {told}."]


def _steadiness(summary: Summary) -> list[str]:
    """Whether the machine was calm enough; said in any case."""
    spread = f"{100 * summary.spread:.0f} %"
    if summary.steady:
        return [f"The machine was steady: the middle half of its matrix product’s times lies within {spread}."]
    return [
        f"The machine was too noisy for small differences: the middle half of its matrix product’s times spreads over {spread} "
        f"(at most {100 * STEADY:.0f} % is steady). Ratios within rounds still hold, with the intervals they show."
    ]


def _set_aside(summary: Summary) -> list[str]:
    refused = list(dict.fromkeys(row.subject for row in summary.bench.rows if row.status == "refused"))
    told = [f"{' and '.join(f'“{name}”' for name in refused)} broke a law and was not timed."] if refused else []
    if summary.bench.stopped:
        told.append("It was stopped before its end; what was measured until then is here.")
    return told


def place_text(row: Row) -> str:
    """`forward, length 8,192 …` for a row that was not measured; `everywhere` for a subject that was turned away."""
    if row.length is None:
        return TITLES[row.phase].lower() if row.phase else "everywhere"
    return (
        f"{TITLES[row.phase].lower()}, length {row.length:,}, width {row.width:,}, heads {row.heads}, batch {row.batch}"
    )


def status_text(row: Row) -> str:
    return row.status.replace("_", " ")
