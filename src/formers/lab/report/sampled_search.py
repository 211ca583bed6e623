"""A larger search in the report: its trials, its front of quality against a cost, and what both cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from formers.lab.report.costs import Cost, cost_named
from formers.lab.report.search import option_label, seeds_text
from formers.lab.report.summary import StudySummary
from formers.lab.store.records import Row
from formers.lab.store.trials import front_of, mean_validation, trial_key
from formers.plot.number_format import duration

_LISTED = 12
"""Trials that a sentence names before it counts the rest."""


@dataclass(frozen=True, kw_only=True)
class SampledTrial:
    """One trial of a larger search, over its seeds.

    Attributes:
        value: its mean metric on validation; None where it has none, and `status` tells why.
        cost: of the kind that the front is against; None where it was not counted.
        cause: the reason why it has no value, in one line.
        seconds: of training, all seeds together.
        on_front: no other trial is at least as good and as cheap.
        is_ranked: it was trained again with the seeds that rank.
    """

    name: str
    options: Mapping[str, str]
    value: float | None
    cost: float | None
    status: str
    cause: str
    seconds: float
    on_front: bool
    is_ranked: bool


def sampled_rows(summary: StudySummary) -> list[Row]:
    """Return the rows of larger searches."""
    return [row for row in summary.results.search if row.search_id]


def front_cost(summary: StudySummary) -> Cost:
    """Return the cost that the front is against: the first that the search bounds."""
    return cost_named(next(iter(summary.results.under), "parameters"))


def sampled_trials(summary: StudySummary) -> tuple[SampledTrial, ...]:
    """Return the trials of a larger search in the order in which they were drawn; none without one."""
    rows, cost = sampled_rows(summary), front_cost(summary)
    values = mean_validation(rows, summary.metric)
    front, ranked = set(front_of(rows, summary.metric, cost.name)), {row.arm for row in summary.results.rows}
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.arm, []).append(row)
    return tuple(
        SampledTrial(
            name=name,
            options=group[0].options,
            value=values.get(trial_key(name, group[0].options)),
            cost=_cost(group[0], cost),
            status=(bad := next((row for row in group if row.status != "finished"), group[0])).status.replace("_", " "),
            cause=bad.cause,
            seconds=sum(row.train_seconds for row in group),
            on_front=name in front,
            is_ranked=name in ranked,
        )
        for name, group in groups.items()
    )


def _cost(row: Row, cost: Cost) -> float | None:
    """Return a cost of a row; None where it was not counted."""
    value = getattr(row, cost.name)
    return None if value is None or (cost.zero_is_missing and value == 0) else float(value)


def sampled_sentences(summary: StudySummary) -> tuple[str, ...]:
    """Return how many trials there were and what became of them, what they cost, and which are on the front.

    Empty without a larger search.
    """
    rows, found = sampled_rows(summary), sampled_trials(summary)
    if not found:
        return ()
    spent, ranked = (sum(row.train_seconds for row in it) for it in (rows, summary.results.rows))
    share = f", {spent / (spent + ranked):.0%} of all training".replace("%", " %") if spent + ranked > 0 else ""
    told = seeds_text(rows, summary)
    trained = [it for it in found if it.status not in ("pruned", "unsupported")]
    pieces = [f"{len(trained)} trials trained with {told} ({duration(spent)}{share})"]
    pieces += _counted(found, "pruned", f"beyond {_limits(summary) or 'a limit'} and never trained")
    pieces += _counted(found, "unsupported", "of values that do not go together")
    pieces += _counted([it for it in trained if it.value is None], None, "without a result")
    return f"The search: {', '.join(pieces)}.", _front_sentence(summary, found)


def _counted(found: tuple[SampledTrial, ...] | list[SampledTrial], status: str | None, words: str) -> list[str]:
    """Return how many trials there are of a status, with words for them; nothing where there is none."""
    count = sum(status in (None, it.status) for it in found)
    return [f"{count} {words}"] if count else []


def _limits(summary: StudySummary) -> str:
    """Return the limits as text: `parameters 200 k`."""
    limits = [(cost_named(name), limit) for name, limit in summary.results.under.items() if math.isfinite(limit)]
    return " or ".join(f"{cost.label} {cost.text(limit)}" for cost, limit in limits)


def _front_sentence(summary: StudySummary, found: tuple[SampledTrial, ...]) -> str:
    """Return which trials are on the front, and which of these are ranked."""
    front = sorted((it for it in found if it.on_front), key=lambda it: it.cost or 0.0)
    if not front:
        return "No trial has a result, so there is no front."
    names = [f"“{it.name}”" for it in front]
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    against = f"validation {summary.metric.label} against {front_cost(summary).label}"
    verb = "is" if len(names) == 1 else "are"
    left = [it for it in front if not it.is_ranked]
    again = "trained again with other seeds, and ranked here" if len(left) < len(front) else "not trained again yet"
    again = f"{len(front) - len(left)} of them {again}" if 0 < len(left) < len(front) else again
    return f"{', '.join(names[:_LISTED])}{more} {verb} on the front of {against}: {again}."


def options_text(trial: SampledTrial) -> str:
    """Return the options of a trial in a line: `mixer linear, learning rate 0.003`."""
    return ", ".join(f"{option_label(name)} {value}" for name, value in trial.options.items())
