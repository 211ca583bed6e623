"""Candidates: the combinations of alternatives that a search tries for an arm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from math import prod

from formers.lab.study.arm import Arm
from formers.lab.study.budget import Budget
from formers.lab.study.choices import choice_text
from formers.lab.study.search_space import chosen
from formers.lab.study.study import Study
from formers.part import quoted

_MOST = 1000


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An arm with one value for each of its alternatives, and a budget with one for each that is searched.

    Attributes:
        arm: the arm under its own name, without alternatives.
        budget: what it is given.
        options: searched option → its value in text; empty where there is nothing to search.
    """

    arm: Arm
    budget: Budget
    options: Mapping[str, str] = field(default_factory=dict)


def candidates(study: Study, arm: Arm) -> tuple[Candidate, ...]:
    """Return every combination of alternatives for an arm, the first values first; one where nothing is searched.

    Raises:
        ValueError: for more combinations than could be trained.
    """
    of_arm = arm.alternatives
    alternatives = {**study.search, **of_arm}
    if (count := prod(map(len, alternatives.values()))) > _MOST:
        raise ValueError(f"arm {quoted(arm.name)}: {count:,} combinations are too many to try; there may be {_MOST:,}")
    found = []
    for values in product(*alternatives.values()):
        chosen = dict(zip(alternatives, values, strict=True))
        found.append(
            Candidate(
                arm=arm.taking({name: chosen[name] for name in of_arm}),
                budget=replace(study.budget, **{name: chosen[name] for name in study.search}),
                options={name: choice_text(value) for name, value in chosen.items()},
            )
        )
    return tuple(found)


def chosen_candidate(study: Study, name: str, options: Mapping[str, str]) -> Candidate:
    """Return the candidate that a trial's options mean. Raise ValueError for values that go not together."""
    arm, budget = chosen(options, name, study.budget)
    return Candidate(arm=arm, budget=budget, options=dict(options))
