"""Sentences on which arms differ, each by what its own comparison rests on: seeds, test items, or neither."""

from __future__ import annotations

from collections.abc import Sequence

from formers.lab.report.arm_names import names_text
from formers.lab.report.confidence_interval import Estimate
from formers.lab.report.summary import ArmSummary, StudySummary

_SEEDS, _ITEMS, _NOTHING = "seeds", "test items", ""


def separation_sentences(summary: StudySummary) -> list[str]:
    """Return what seeds or test items establish about the best arm and the others, and about these and the base."""
    others = summary.ranked[1:]
    groups = {evidence: [arm for arm in others if evidence_of(arm.to_best) == evidence] for evidence in _KINDS}
    asked = [evidence for evidence in _KINDS if groups[evidence]]
    if asked == [_NOTHING]:
        return [_nothing_separates(summary), *_better_than_base(summary)]
    is_mixed = len(asked) > 1 or (asked == [_ITEMS] and _has_seeds(summary))
    told = [_KINDS[evidence](groups[evidence], is_mixed) for evidence in asked]
    return [sentence for sentences in told for sentence in sentences] + _better_than_base(summary)


def evidence_of(difference: Estimate | None) -> str:
    """Return what the interval of a difference is over: `seeds`, `test items`, or an empty text without one."""
    if difference is None or difference.half_width is None:
        return _NOTHING
    return _ITEMS if difference.items else _SEEDS


def _by_seeds(arms: Sequence[ArmSummary], is_mixed: bool) -> list[str]:
    return _establish(_SEEDS, arms, is_mixed)


def _by_items(arms: Sequence[ArmSummary], is_mixed: bool) -> list[str]:
    shared = f"With {names_text(arms)} it shares one seed, and" if is_mixed else "With one seed,"
    caveat = f"{shared} this says nothing about the training’s randomness: another seed may turn it round."
    return [*_establish(_ITEMS, arms, is_mixed), caveat]


def _by_nothing(arms: Sequence[ArmSummary], is_mixed: bool) -> list[str]:
    return [f"With {names_text(arms)} it shares no more than one seed, which cannot separate them."]


_KINDS = {_SEEDS: _by_seeds, _ITEMS: _by_items, _NOTHING: _by_nothing}


def _establish(evidence: str, arms: Sequence[ArmSummary], is_mixed: bool) -> list[str]:
    """Return what `evidence` establishes about the best arm and these; all the others, unless evidence is mixed."""
    open_ = [arm for arm in arms if not (arm.to_best and arm.to_best.established)]
    if is_mixed:
        established = [arm for arm in arms if arm not in open_]
        sentences = [f"The {evidence} establish its lead over {names_text(established)}."] if established else []
        return sentences + (
            [f"The {evidence} do not establish a difference from {names_text(open_)}."] if open_ else []
        )
    if not open_:
        return [f"The {evidence} establish its lead over every other arm."]
    if len(open_) == len(arms):
        return [f"The {evidence} do not establish a difference from any other arm."]
    return [f"The {evidence} do not establish a difference from {names_text(open_)}; from every other arm they do."]


def _nothing_separates(summary: StudySummary) -> str:
    if _has_seeds(summary):
        return "No other arm shares more than one seed with it, and a single seed cannot separate arms."
    return "Every arm ran with one seed, and a single seed cannot separate arms: the order is a hint."


def _has_seeds(summary: StudySummary) -> bool:
    return any(len(arm.values) > 1 for arm in summary.ranked)


def _better_than_base(summary: StudySummary) -> list[str]:
    """Return which arms but the best one are established to be better than the base; by what, where that differs."""
    better = [
        arm
        for arm in summary.ranked[1:]
        if arm.to_base and arm.to_base.established and summary.better(arm.to_base.mean, 0)
    ]
    kinds = {evidence_of(arm.to_best) for arm in summary.ranked[1:]} | {evidence_of(arm.to_base) for arm in better}
    sentences = []
    for evidence in (_SEEDS, _ITEMS):
        if arms := [arm for arm in better if evidence_of(arm.to_base) == evidence]:
            by = f" by the {evidence}" if len(kinds) > 1 else ""
            sentences.append(f"Also established{by} to be better than the base, “{summary.base}”: {names_text(arms)}.")
    return sentences
