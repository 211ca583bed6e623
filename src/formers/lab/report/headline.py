"""The sentences that open a report: they claim what the data supports and no more."""

from __future__ import annotations

from formers.lab.report.arm_names import names_text, quoted_name
from formers.lab.report.enough import enough_sentences
from formers.lab.report.estimate_text import estimate_text
from formers.lab.report.matching import inequalities
from formers.lab.report.sampled_search import sampled_sentences
from formers.lab.report.search import search_sentences
from formers.lab.report.separation import evidence_of, separation_sentences
from formers.lab.report.summary import StudySummary
from formers.plot.number_format import fixed


def headline(summary: StudySummary) -> tuple[str, ...]:
    """Return the sentences that open a report, the most important first."""
    ranked = summary.ranked
    if not ranked:
        return (f"No arm finished with a test {summary.metric.label}.", *_failures(summary))
    sentences = [_best(summary), *inequalities(summary), *search_sentences(summary), *sampled_sentences(summary)]
    if len(ranked) == 1:
        sentences += ["No other arm has a result to compare it with."] if len(summary.arms) > 1 else []
    else:
        sentences += separation_sentences(summary)
    return (*sentences, *enough_sentences(summary), *_references(summary), *_failures(summary))


def over_items(summary: StudySummary) -> bool:
    """Return whether some difference to the base has an interval over test items, for want of seeds."""
    return any(evidence_of(arm.to_base) == "test items" for arm in summary.ranked)


def over_seeds(summary: StudySummary) -> bool:
    """Return whether some difference to the base has an interval over seeds."""
    return any(evidence_of(arm.to_base) == "seeds" for arm in summary.ranked)


def _best(summary: StudySummary) -> str:
    """Return the result of the best arm."""
    best = summary.ranked[0]
    superlative = "lowest" if summary.metric.lower_is_better else "highest"
    unit = f" {summary.metric.unit}" if summary.metric.unit else ""
    value = estimate_text(best.metric, summary.digits)
    seeds = f" over {len(best.values)} seeds" if len(best.values) > 1 else ""
    if len(summary.ranked) == 1:
        return f"{quoted_name(best)} reached a test {summary.metric.label} of {value}{unit}{seeds}."
    return f"{quoted_name(best)} has the {superlative} test {summary.metric.label}: {value}{unit}{seeds}."


def _references(summary: StudySummary) -> list[str]:
    """Return which arms do not beat a reference."""
    sentences = []
    for name, value in summary.results.references.items():
        behind = [arm for arm in summary.ranked if arm.metric and not summary.better(arm.metric.mean, value)]
        if behind:
            verb = "does" if len(behind) == 1 else "do"
            sentences.append(f"{names_text(behind)} {verb} not beat {name} ({fixed(value, summary.digits)}).")
    return sentences


def _failures(summary: StudySummary) -> list[str]:
    """Return which arms have no result, or fewer than they have runs."""
    sentences = []
    if summary.unranked:
        verb = "has" if len(summary.unranked) == 1 else "have"
        sentences.append(f"{names_text(summary.unranked)} {verb} no result.")
    thinned = [arm for arm in summary.ranked if len(arm.values) < len({row.seed for row in arm.rows})]
    if thinned:
        sentences.append(f"Some runs of {names_text(thinned)} failed; the mean is over those that finished.")
    return sentences
