"""Whether a row is of a study as it is now: its folder may hold rows of what it was before, under the same names."""

from __future__ import annotations

from dataclasses import asdict
from functools import cached_property
from typing import Any

from formers.lab.store.records import Row
from formers.lab.study.budget import Budget
from formers.lab.study.candidates import Candidate
from formers.lab.study.command_line import is_of_task
from formers.lab.study.study import Study
from formers.lab.train.job import config_facts, config_json
from formers.part import Unsupported, value_text

_MATCHED = {"parameters": ("ffn", "depth"), "flops": ("ffn", "depth")}
"""Entries of a configuration that are changed for what a study matches."""


class Agreement:
    """What rows of one candidate of a study have in common: its task, its budget, its precision, its configuration.

    Steps that make times equal, and sizes that make costs equal, are not asked about, which would take measurements;
    nor are the data and the user's own files: the newest row has the newest of them. What a row of an older version
    does not know is not asked about, either.
    """

    def __init__(self, study: Study, candidate: Candidate) -> None:
        self._study, self._candidate = study, candidate

    def __contains__(self, row: Row) -> bool:
        """Return whether a row is of the candidate."""
        if row.command and not is_of_task(row.command, self._study):
            return False
        if row.budget and self._amounts(row.budget) != self._amounts(self._candidate.budget.to_dict()):
            return False
        return self._has_config(row) if row.config else self._has_choices(row)

    def _amounts(self, budget: dict[str, float]) -> dict[str, float]:
        """Return what a budget gives, but for the steps where these follow from the time."""
        left_out = ("steps",) if self._study.match == "time" else ()
        return {name: value for name, value in (asdict(Budget()) | budget).items() if name not in left_out}

    def _has_config(self, row: Row) -> bool:
        if row.environment.get("precision", "fp32") != self._study.compute.precision:
            return False
        if self._config is None:  # it cannot exist any more
            return False
        both = config_facts(row.config).keys() & self._config.keys()
        return all(row.config[name] == self._config[name] for name in both)

    def _has_choices(self, row: Row) -> bool:
        """Return whether an arm that was not trained, which has no configuration, chose the same."""
        choices = {**self._study.base, **self._candidate.arm.swaps}
        return all(row.choices.get(name, value_text(value)) == value_text(value) for name, value in choices.items())

    @cached_property
    def _config(self) -> dict[str, Any] | None:
        """The configuration as rows have it, without what may be changed; None where there is none."""
        try:
            config = self._study.config(self._candidate.arm)
        except Unsupported:
            return None
        changed = _MATCHED.get(self._study.match, ()) if self._candidate.arm.name != self._study.arms[0].name else ()
        return {name: value for name, value in config_facts(config_json(config)).items() if name not in changed}
