"""The sentences that open the page of a benchmark."""

from __future__ import annotations

from formers.bench.phases import TITLES
from formers.bench.statistics.interval import interval, ratios
from formers.bench.summary import STEADY, BenchSummary, ScalingCurve
from formers.bench.value_text import crossover_text, time_text
from formers.plot.number_format import significant


def headline(summary: BenchSummary) -> tuple[str, ...]:
    """Return the sentences that open a page, the most important first."""
    if not summary.curves:
        return ("Nothing could be timed.", *_set_aside(summary))
    phase = "training" if "training" in summary.curves else next(iter(summary.curves))
    return (*_fastest(summary, phase), *_crossovers(summary, phase), *_steadiness(summary), *_set_aside(summary))


def _fastest(summary: BenchSummary, phase: str) -> list[str]:
    """Return who is ahead at the largest size. Kernels have no projections and do not take part."""
    axis, largest = summary.results.axis, summary.largest(phase)
    reached = [one for one in summary.curves[phase] if one.kind != "kernel" and one.last.row.size(axis) == largest]
    if len(reached) < 2:
        return []
    best = min(reached, key=lambda curve: curve.last.time.median)
    work, time = TITLES[phase].lower(), time_text(best.last.time.median)
    equals = [one for one in reached if one is not best and not _is_slower(one, best)]
    others = " and ".join(f"“{one.subject}”" for one in equals)
    size = f"at {axis} {largest:,}"
    are = f"and {others} are the fastest mixers {size}, not told apart" if equals else f"is the fastest mixer {size}"
    sentence = f"“{best.subject}” {are}: {work} in {time}"
    if best.last.ratio is not None:
        ratio = significant(best.last.ratio.median, 2)
        sentence += f", {ratio} × the time of “{summary.results.reference}”"
    return [sentence + "."]


def _is_slower(one: ScalingCurve, best: ScalingCurve) -> bool:
    """Return whether a mixer takes longer than another at the largest size, in the whole interval of their ratio."""
    return interval(ratios(one.last.row.seconds, best.last.row.seconds)).low > 1


def _crossovers(summary: BenchSummary, phase: str) -> list[str]:
    """Return where mixers overtake the reference."""
    reference = summary.results.reference
    curves = [curve for curve in summary.curves[phase] if curve.crossover is not None and curve.kind != "kernel"]
    if not curves:
        return []
    found = "; ".join(f"“{curve.subject}” {crossover_text(curve, summary)}" for curve in curves)
    return [f"Faster than “{reference}” in {TITLES[phase].lower()}: {found}."]


def _steadiness(summary: BenchSummary) -> list[str]:
    """Return whether the machine was calm enough; a sentence in any case."""
    spread = f"{100 * summary.spread:.0f} %"
    if summary.steady:
        return [f"The machine was steady: the middle half of its matrix product’s times lies within {spread}."]
    return [
        "The machine was too noisy for small differences: the middle half of its matrix product’s times spreads over "
        f"{spread} (at most {100 * STEADY:.0f} % is steady). "
        "Ratios within rounds still hold, with the intervals they show."
    ]


def _set_aside(summary: BenchSummary) -> list[str]:
    """Return which parts were not timed because of a law, and whether the benchmark was stopped."""
    refused = list(dict.fromkeys(row.subject for row in summary.results.rows if row.status == "refused"))
    names = " and ".join(f"“{name}”" for name in refused)
    sentences = [f"{names} broke a law and was not timed."] if refused else []
    if summary.results.stopped:
        sentences.append("It was stopped before its end; what was measured until then is here.")
    return sentences
