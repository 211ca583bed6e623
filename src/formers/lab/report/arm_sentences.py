"""A sentence for each arm: what it changes against the base, in quality and in costs."""

from __future__ import annotations

from formers.lab.report.costs import MEMORY, STATE_SIZE, TIME, Cost, cost_named
from formers.lab.report.estimate_text import difference_text
from formers.lab.report.summary import ArmSummary, StudySummary
from formers.plot.number_format import percent

_TOLD = (cost_named("parameters"), cost_named("flops_per_token"), STATE_SIZE, MEMORY, TIME)
_SAME = 0.005
"Relative differences below this are left out."


def arm_sentences(summary: StudySummary) -> tuple[str, ...]:
    """Return `base → arm: +0.070 loss, −87 % state size, +14 % training time.` for every other arm, best first."""
    return tuple(_sentence(summary, arm) for arm in summary.ranked if arm.name != summary.base and arm.to_base)


def _sentence(summary: StudySummary, arm: ArmSummary) -> str:
    """Return the sentence of one arm."""
    unit = f" {summary.metric.unit}" if summary.metric.unit else f" {summary.metric.label}"
    changes = [f"{difference_text(arm.to_base, summary.digits)}{unit}"]
    changes += [text for cost in _TOLD if (text := _change(arm, cost))]
    return f"{summary.base} → {arm.name}: {', '.join(changes)}."


def _change(arm: ArmSummary, cost: Cost) -> str:
    """Return the relative change of a cost; empty where there is none, or no number."""
    if arm.costs[cost.name] == 0 and cost is STATE_SIZE:
        return "no state"
    ratio = arm.to_base_costs[cost.name]
    return "" if ratio is None or abs(ratio) < _SAME else f"{percent(ratio)} {cost.label}"
