"""The results of a study that ran before, from the files in its folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from formers.lab.report.agreement import Agreement
from formers.lab.report.json_file import load
from formers.lab.report.study_files import JSON
from formers.lab.report.study_results import study_results
from formers.lab.store.experiment import experiment_name
from formers.lab.store.records import Results, Row
from formers.lab.store.store import Store
from formers.lab.store.tracking_uri import TRACKING_URI_VARIABLE
from formers.lab.store.trials import trial_key, trial_number
from formers.lab.study.candidates import Candidate, candidates
from formers.lab.study.choosing import best_candidates, front_candidates, search_id
from formers.lab.study.study import Study
from formers.lab.study.yaml import read_study

YAML, DATABASE = "study.yaml", "mlflow.db"


def stored_results(folder: Path) -> Results:
    """Return the results of the study in `folder`: the newest row of every arm and seed that is of the study as it is.

    Rows come from the study's store, and from report.json where the store has none. A study that is not finished has
    the rows which it has so far.

    Raises:
        FileNotFoundError: where there is neither a store nor a report.json with a row.
        ValueError: where a row cannot be read.
    """
    published = load(folder / JSON) if (folder / JSON).is_file() else None
    before = [*published.rows, *published.search] if published else []
    if (folder / YAML).is_file() and (os.environ.get(TRACKING_URI_VARIABLE) or (folder / DATABASE).is_file()):
        study = replace(read_study(folder / YAML), folder=folder)
        rows, search = _rows(study, before)
        if rows or search:
            return study_results(study, rows, study.checked_task.references(), search)
    if published is None:
        raise FileNotFoundError(
            f"there is no study in {folder}: neither {YAML} with {DATABASE} and a row in it, nor {JSON}"
        )
    return published


def _rows(study: Study, before: Sequence[Row]) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """Return the rows of a study in the order of its arms, and those of its search.

    They are from its store, and those `before` that are not there. Ranked are the runs with what the search chooses.
    """
    known = _Known(study, before)
    if study.space:
        return _rows_of_space(study, known)
    every = [it for arm in study.arms for it in candidates(study, arm)] if study.searches else []
    search = known.rows(every, study.search_seeds, is_search=True)
    return known.rows([*best_candidates(study, search).values()], study.seeds), search


def _rows_of_space(study: Study, known: _Known) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """Return the rows of a study with a larger search: of its arms and the front, and of the trials that it has."""
    own = search_id(study)  # of all that decides what a trial is
    newest = {(row.arm, row.seed): row for row in known.every if row.search_id == own}
    search = tuple(newest[name] for name in sorted(newest, key=lambda it: (trial_number(it[0]), it[1])))
    of_arms = [candidates(study, arm)[0] for arm in study.arms]
    return known.rows([*of_arms, *front_candidates(study, search)], study.seeds), search


class _Known:
    """The rows in the folder of a study, the oldest first: those that were published, and those of its store."""

    def __init__(self, study: Study, before: Sequence[Row]) -> None:
        store = Store(study.folder, experiment_name(study.folder))
        self.every = [*before, *store.rows().values()]
        self._study = study
        self._named: dict[tuple[Any, ...], list[Row]] = {}
        for row in self.every:
            name = (row.is_search, row.search_id, trial_key(row.arm, row.options), row.seed)
            self._named.setdefault(name, []).append(row)

    def rows(self, wanted: Sequence[Candidate], seeds: Sequence[int], is_search: bool = False) -> tuple[Row, ...]:
        """Return the newest row of each candidate with each seed, of those that have one, seed by seed."""
        agreements = [(it, Agreement(self._study, it)) for it in wanted]
        found = (self._newest(it, agreement, seed, is_search) for seed in seeds for it, agreement in agreements)
        return tuple(row for row in found if row)

    def _newest(self, it: Candidate, agreement: Agreement, seed: int, is_search: bool) -> Row | None:
        rows = self._named.get((is_search, "", trial_key(it.arm.name, it.options), seed), [])
        return next((row for row in reversed(rows) if row in agreement), None)
