"""Sentences about budgets: what was matched between arms, by how much that was missed, and what differs besides."""

from __future__ import annotations

from formers.lab.report.costs import MATCHABLE, Cost
from formers.lab.report.summary import ArmSummary, StudySummary
from formers.plot.number_format import percent

_TOLERANCE = 0.02
"A relative difference to the base that still passes as equal."


def unequal(miss: float | None) -> bool:
    """Return whether a relative difference to the base is too large to pass as equal."""
    return miss is not None and abs(miss) > _TOLERANCE


def _misses(summary: StudySummary, cost: Cost) -> list[tuple[ArmSummary, float]]:
    """Return the ranked arms but the base, each with its relative difference to the base, the largest first."""
    arms = [arm for arm in summary.ranked if arm.name != summary.base]
    found = [(arm, miss) for arm in arms if (miss := arm.to_base_costs[cost.name]) is not None]
    return sorted(found, key=lambda item: -abs(item[1]))


def matched_sentence(summary: StudySummary) -> str:
    """Return `Matched between arms: parameters; the largest difference to the base is +0.8 % (“dense”).`"""
    name = summary.results.matched
    cost = MATCHABLE.get(name)
    found = _misses(summary, cost) if cost else []
    if not found:
        return f"Matched between arms: {name}."
    arm, miss = found[0]
    if round(miss, 6) == 0:
        return f"Matched between arms: {name}, exactly."
    return f"Matched between arms: {name}; the largest difference to the base is {percent(miss)} (“{arm.name}”)."


def unmatched_sentence(summary: StudySummary) -> str:
    """Return which other quantities of the budget differ between arms; empty where none does."""
    others = [cost for name, cost in MATCHABLE.items() if name != summary.results.matched]
    worst = [(cost, found[0]) for cost in others if (found := _misses(summary, cost)) and unequal(found[0][1])]
    told = [f"{cost.label} (up to {percent(miss)}, “{arm.name}”)" for cost, (arm, miss) in worst]
    return f"Not matched: {', '.join(told)}." if told else ""


def warning(summary: StudySummary) -> str:
    """Return a sentence where the matched quantity is not equal after all; empty where it is."""
    cost = MATCHABLE.get(summary.results.matched)
    off = [(arm, miss) for arm, miss in _misses(summary, cost) if unequal(miss)] if cost else []
    if not cost or not off:
        return ""
    worst, miss = off[0]
    told = f"“{worst.name}” misses the base’s {cost.label} by {percent(miss)}"
    if len(off) > 1:
        limit = f"{100 * _TOLERANCE:.0f} %"
        told = f"{len(off)} arms miss the base’s {cost.label} by more than {limit}, “{worst.name}” by {percent(miss)}"
    return f"Budgets are unequal: {told}. Differences may come from that."
