"""A phase as cells of text, the same in the terminal and on the page."""

from __future__ import annotations

from formers.bench.summary import BenchSummary, ScalingCurve
from formers.bench.value_text import crossover_text, growth_text, ratio_text, share_text, time_interval_text
from formers.plot.number_format import size


def columns(summary: BenchSummary, phase: str) -> tuple[str, ...]:
    """Return the headings. The streaming state has a column where there is one."""
    reference = summary.results.reference
    always = (
        "subject",
        "time",
        f"× {reference}",
        f"faster than {reference}",
        "growth",
        "peak memory",
        "growth",
        "of peak rate",
    )
    return (*always, "state") if _has_state(summary, phase) else always


def cells(curve: ScalingCurve, summary: BenchSummary) -> tuple[str, ...]:
    """Return one row of a phase, at the largest size that the subject reached."""
    point, largest = curve.last, summary.largest(curve.phase)
    reached = point.row.size(summary.results.axis)
    name = curve.subject if reached == largest else f"{curve.subject}, at {reached:,}"
    always = (
        name + (" (kernel only)" if curve.kind == "kernel" else ""),
        time_interval_text(point.time),
        "1" if curve.subject == summary.results.reference else ratio_text(point.ratio),
        crossover_text(curve, summary),
        growth_text(curve.growth),
        size(point.row.peak_bytes),
        growth_text(curve.memory_growth),
        share_text(point.share),
    )
    return (*always, size(point.row.state_bytes)) if _has_state(summary, curve.phase) else always


def _has_state(summary: BenchSummary, phase: str) -> bool:
    return any(point.row.state_bytes for curve in summary.curves[phase] for point in curve.points)
