"""Sentences about budgets: what was matched between arms, by how much that was missed, and what differs besides."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from formers.lab.report.costs import MATCHABLE, Cost
from formers.lab.report.search import taken_options
from formers.lab.report.summary import ArmSummary, StudySummary
from formers.lab.store.records import NOTHING_MATCHED
from formers.plot.number_format import percent

_SAME = 1e-6
"A relative difference of two quantities of a budget that is rounding."
_FEW_SEEDS = 5
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


def budget_label(summary: StudySummary) -> str:
    """Return whose budget `Results.budget` is, as a label: `budget of every arm`."""
    if len(summary.arms) == 1:
        return "budget"
    return {"time": "budget of the base", NOTHING_MATCHED: "budgets"}.get(
        summary.results.matched, "budget of every arm"
    )


def budget_sentence(summary: StudySummary) -> str:
    """Return `Every arm was given 400 steps × 16 × 128 tokens.`; at equal time, what the base was; empty without it."""
    budget, matched = summary.results.budget, summary.results.matched
    if not budget:
        return ""
    if len(summary.arms) == 1:
        return f"It was given {budget}."
    if matched == "time":
        return f"The base was given {budget}; the others as many steps as take the same time."
    return f"{'Arms were' if matched == NOTHING_MATCHED else 'Every arm was'} given {budget}."


def matched_sentence(summary: StudySummary) -> str:
    """Return `Matched between arms: parameters; the largest difference to the base is +0.8 % (“dense”).`"""
    name = summary.results.matched
    if name == NOTHING_MATCHED:
        return "Nothing is matched between arms."
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


def inequalities(summary: StudySummary) -> tuple[str, ...]:
    """Return every reason why the ranked arms were not given the same: budgets, data, seeds. Empty where they were.

    Every form of the report that ranks says these sentences.
    """
    if len(summary.ranked) < 2:
        return ()
    by_hand = unmatched_sentence(summary) if summary.results.matched == NOTHING_MATCHED else ""
    told = (warning(summary), _budgets_sentence(summary), by_hand, _data_sentence(summary), _seeds_sentence(summary))
    return tuple(sentence for sentence in told if sentence)


def matching_sentences(summary: StudySummary) -> str:
    """Return what was matched between the ranked arms, and what was not; empty where nothing is compared."""
    if len(summary.ranked) < 2:
        return ""
    return f"{matched_sentence(summary)} {unmatched_sentence(summary)}".strip()


def _budgets_sentence(summary: StudySummary) -> str:
    """Return what some arms were given more of than others, beside what the study matches; empty where nothing is."""
    matched, given = summary.results.matched, {arm.name: _given(arm) for arm in summary.ranked}
    names = dict.fromkeys(name for amounts in given.values() for name in amounts)
    own_words = {"steps": {"steps"}, "time": {"steps", "tokens"}}.get(matched, set())
    own_words = own_words | {*taken_options(summary)} - {"batch_size"}  # chosen alike for all, each its own
    ranges = [_range(name, given) for name in names if name not in own_words]
    told = ", ".join(text for text in ranges if text)
    if told:
        return f"Budgets are unequal: {told}. Differences may come from that."
    if matched != NOTHING_MATCHED:
        return ""
    return f"Nothing is matched between arms: {summary.results.budget}. Differences may come from that."


def _given(arm: ArmSummary) -> dict[str, float]:
    """Return the amounts that an arm was given; of a row that does not tell, its steps and tokens."""
    row = next(row for row in arm.rows if row.status == "finished")
    amounts = {"steps": row.steps, "tokens": row.train_seconds * row.tokens_per_second, **row.budget}
    return {name: value for name, value in amounts.items() if math.isfinite(value) and (value or name != "tokens")}


def _range(name: str, given: Mapping[str, Mapping[str, float]]) -> str:
    """Return `steps from 50 (“a”) to 1,000 (“b”)`; empty where all arms that tell have the same."""
    amounts = {arm: values[name] for arm, values in given.items() if name in values}
    least, most = min(amounts, key=amounts.__getitem__), max(amounts, key=amounts.__getitem__)
    if math.isclose(amounts[least], amounts[most], rel_tol=_SAME):
        return ""
    label = name.replace("_", " ")
    return f"{label} from {amounts[least]:,.6g} (“{least}”) to {amounts[most]:,.6g} (“{most}”)"


def _data_sentence(summary: StudySummary) -> str:
    """Return that runs read different data; empty where they read the same."""
    found = {row.data_hash: arm.name for arm in summary.ranked for row in arm.rows if row.data_hash}
    if len(found) < 2:
        return ""
    first, second, *_ = found.values()
    names = f"some of “{first}”" if first == second else f"those of “{first}” and “{second}”"
    return f"Data are unequal: not all runs read the same data, {names} among them. Do not compare them."


def _seeds_sentence(summary: StudySummary) -> str:
    """Return that arms ran with different seeds, with an example; empty where all ran with the same."""
    seeds = {arm.name: tuple(sorted({row.seed for row in arm.rows})) for arm in summary.ranked}
    base = summary.base if summary.base in seeds else summary.ranked[0].name
    others = [name for name, own in seeds.items() if own != seeds[base]]
    if not others:
        return ""
    more = f", and {len(others) - 1} more arms with others" if len(others) > 1 else ""
    told = f"“{base}” ran with {_seeds_text(seeds[base])}, “{others[0]}” with {_seeds_text(seeds[others[0]])}{more}"
    return f"Seeds are unequal: {told}; their means are over different runs."


def _seeds_text(seeds: Sequence[int]) -> str:
    word = "seed" if len(seeds) == 1 else "seeds"
    return f"{len(seeds)} seeds" if len(seeds) > _FEW_SEEDS else f"{word} {', '.join(map(str, seeds))}"


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
