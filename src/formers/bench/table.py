"""A phase as cells of text, the same in the terminal and on the page."""

from __future__ import annotations

from formers.bench.summary import Line, Summary
from formers.bench.words import crossover_text, growth_text, ratio_text, share_text, time_interval_text
from formers.plot.number_format import size


def columns(summary: Summary, phase: str) -> tuple[str, ...]:
    """The headings. The state has a column where there is one."""
    reference = summary.bench.reference
    named = (
        "subject",
        "time",
        f"× {reference}",
        f"faster than {reference}",
        "growth",
        "peak memory",
        "growth",
        "of peak rate",
    )
    return (*named, "state") if _has_state(summary, phase) else named


def _has_state(summary: Summary, phase: str) -> bool:
    return any(point.row.state_bytes for line in summary.lines[phase] for point in line.points)


def cells(line: Line, summary: Summary) -> tuple[str, ...]:
    """One line of a phase, at the largest size that it reached."""
    point, largest = line.last, summary.largest(line.phase)
    reached = point.row.size(summary.bench.axis)
    name = line.subject if reached == largest else f"{line.subject}, at {reached:,}"
    texts = (
        name + (" (kernel only)" if line.kind == "kernel" else ""),
        time_interval_text(point.time),
        "1" if line.subject == summary.bench.reference else ratio_text(point.ratio),
        crossover_text(line, summary),
        growth_text(line.growth),
        size(point.row.peak_bytes),
        growth_text(line.memory_growth),
        share_text(point.share),
    )
    return (*texts, size(point.row.state_bytes)) if _has_state(summary, line.phase) else texts
