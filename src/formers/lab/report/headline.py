"""The sentences that open a report: they claim what the data supports and no more."""

from __future__ import annotations

from collections.abc import Sequence

from formers.lab.report.enough import enough_sentences
from formers.lab.report.estimate_text import estimate_text
from formers.lab.report.matching import inequalities
from formers.lab.report.sampled_search import sampled_sentences
from formers.lab.report.search import search_sentences
from formers.lab.report.summary import ArmSummary, StudySummary
from formers.plot.number_format import fixed

_LISTED = 110
"Characters of names that a sentence lists before it counts the rest."


def headline(summary: StudySummary) -> tuple[str, ...]:
    """Return the sentences that open a report, the most important first."""
    ranked = summary.ranked
    if not ranked:
        return (f"No arm finished with a test {summary.metric.label}.", *_failures(summary))
    sentences = [_best(summary), *inequalities(summary), *search_sentences(summary), *sampled_sentences(summary)]
    if len(ranked) == 1:
        sentences += ["No other arm has a result to compare it with."] if len(summary.arms) > 1 else []
    elif max(len(arm.values) for arm in ranked) > 1:
        sentences += _separation(summary, "seeds")
    elif over_items(summary):
        sentences += _separation(summary, "test items")
        sentences.append(
            "With one seed, this says nothing about the training’s randomness: another seed may turn it round."
        )
    else:
        sentences.append("Every arm ran with one seed, and a single seed cannot separate arms: the order is a hint.")
    return (*sentences, *enough_sentences(summary), *_references(summary), *_failures(summary))


def over_items(summary: StudySummary) -> bool:
    """Return whether differences have intervals over test items, for want of seeds."""
    return any(arm.to_base and arm.to_base.items for arm in summary.ranked)


def _best(summary: StudySummary) -> str:
    """Return the result of the best arm."""
    best = summary.ranked[0]
    superlative = "lowest" if summary.metric.lower_is_better else "highest"
    unit = f" {summary.metric.unit}" if summary.metric.unit else ""
    value = estimate_text(best.metric, summary.digits)
    seeds = f" over {len(best.values)} seeds" if len(best.values) > 1 else ""
    if len(summary.ranked) == 1:
        return f"{_quoted(best)} reached a test {summary.metric.label} of {value}{unit}{seeds}."
    return f"{_quoted(best)} has the {superlative} test {summary.metric.label}: {value}{unit}{seeds}."


def _separation(summary: StudySummary, evidence: str) -> list[str]:
    """Return what `evidence`, the seeds or the test items, establishes."""
    others = summary.ranked[1:]
    open_ = [arm for arm in others if not (arm.to_best and arm.to_best.established)]
    if not open_:
        sentences = [f"The {evidence} establish its lead over every other arm."]
    elif len(open_) == len(others):
        sentences = [f"The {evidence} do not establish a difference from any other arm."]
    else:
        sentences = [
            f"The {evidence} do not establish a difference from {_names(open_)}; from every other arm they do."
        ]
    better = [arm for arm in others if arm.to_base and arm.to_base.established and summary.better(arm.to_base.mean, 0)]
    if better:
        sentences.append(f"Also established to be better than the base, “{summary.base}”: {_names(better)}.")
    return sentences


def _references(summary: StudySummary) -> list[str]:
    """Return which arms do not beat a reference."""
    sentences = []
    for name, value in summary.results.references.items():
        behind = [arm for arm in summary.ranked if arm.metric and not summary.better(arm.metric.mean, value)]
        if behind:
            verb = "does" if len(behind) == 1 else "do"
            sentences.append(f"{_names(behind)} {verb} not beat {name} ({fixed(value, summary.digits)}).")
    return sentences


def _failures(summary: StudySummary) -> list[str]:
    """Return which arms have no result, or fewer than they have runs."""
    sentences = []
    if summary.unranked:
        verb = "has" if len(summary.unranked) == 1 else "have"
        sentences.append(f"{_names(summary.unranked)} {verb} no result.")
    thinned = [arm for arm in summary.ranked if len(arm.values) < len({row.seed for row in arm.rows})]
    if thinned:
        sentences.append(f"Some runs of {_names(thinned)} failed; the mean is over those that finished.")
    return sentences


def _names(arms: Sequence[ArmSummary]) -> str:
    """Return “a”, “b” and 3 more: as many as one can read, quoted, since names of arms may hold commas."""
    named = [_quoted(arms[0])]
    for arm in arms[1:]:
        if len(", ".join(named)) + len(arm.name) > _LISTED:
            break
        named.append(_quoted(arm))
    if len(named) < len(arms):
        named.append(f"{len(arms) - len(named)} more")
    return named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"


def _quoted(arm: ArmSummary) -> str:
    return f"“{arm.name}”"
