"""Sentences on whether a study was long enough, and had seeds enough, to order its arms."""

from __future__ import annotations

import math

from formers.lab.report.confidence_interval import two_sided_quantile
from formers.lab.report.summary import ArmSummary, StudySummary
from formers.plot.number_format import fixed

_LAST, _LONGEST = 0.2, 0.25
"""Share of the steps over which a curve is asked whether it still falls, and the longest that counts as its end."""
_MOST_SEEDS = 50


def enough_sentences(summary: StudySummary) -> tuple[str, ...]:
    """Return that curves still fall by more than separates the first two arms, and how many seeds would separate these.

    Empty where neither is so, and where there are not two arms with a result.
    """
    if len(summary.ranked) < 2:
        return ()
    return tuple(sentence for sentence in (_still_falling(summary), _seeds_needed(summary)) if sentence)


def _still_falling(summary: StudySummary) -> str:
    """Return which of the first two arms gains most at the end of its training, where that is more than their gap."""
    first, second = summary.ranked[:2]
    if not first.metric or not second.metric:
        return ""
    gap = abs(first.metric.mean - second.metric.mean)
    gain, share, name = max((*_late_gain(summary, arm), arm.name) for arm in (first, second))
    if gain <= gap or fixed(gain, summary.digits) == fixed(0.0, summary.digits):
        return ""
    word = "falls" if summary.metric.lower_is_better else "rises"
    gained, between = fixed(gain, summary.digits), fixed(gap, summary.digits)
    last = "fifth" if math.isclose(share, _LAST) else f"{share * 100:.0f} %"
    return (
        f"“{name}” still {word}: by {gained} on validation over the last {last} of its steps, and {between} separates "
        "the first two arms; a longer budget may turn them round."
    )


def _late_gain(summary: StudySummary, arm: ArmSummary) -> tuple[float, float]:
    """Return by how much an arm's mean curve is better at its end than before its last steps, and their share of all.

    No gain where no point is there, or none that is late.
    """
    if len(arm.curve) < 2:
        return 0.0, 0.0
    last = arm.curve[-1]
    before = next((point for point in reversed(arm.curve) if point.step <= (1 - _LAST) * last.step), None)
    if before is None or before.step < (1 - _LONGEST) * last.step:
        return 0.0, 0.0
    gain = before.value - last.value
    return max(0.0, gain if summary.metric.lower_is_better else -gain), 1 - before.step / last.step


def _seeds_needed(summary: StudySummary) -> str:
    """Return how many seeds would establish the lead over the second arm, if it and its spread stay as they are.

    It would be at the level of its own interval, which holds together with those of the other arms.

    Nothing is said where it is established, with a single seed, whose spread is not known, or for a lead of nothing.
    """
    lead = summary.ranked[1].to_best
    if lead is None or lead.established or lead.items or lead.error is None or lead.level is None or not lead.mean:
        return ""
    first, second = summary.ranked[:2]
    spread = lead.error * math.sqrt(lead.seeds)
    for seeds in range(lead.seeds + 1, _MOST_SEEDS + 1):
        if two_sided_quantile(seeds - 1, lead.level) * spread / math.sqrt(seeds) < abs(lead.mean):
            told = f"If the lead of “{first.name}” over “{second.name}” stays as it is, about {seeds} seeds would"
            return f"{told} establish it."
    told = f"More than {_MOST_SEEDS} seeds would be needed to tell “{first.name}” from “{second.name}”"
    return f"{told}: take them as equal here."
