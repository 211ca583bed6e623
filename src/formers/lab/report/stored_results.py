"""The results of a study that ran before, from the files in its folder."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from formers.lab.report.json_file import load
from formers.lab.report.study_files import JSON
from formers.lab.report.study_results import study_results
from formers.lab.store.experiment import experiment_name
from formers.lab.store.records import Results, Row
from formers.lab.store.store import Store
from formers.lab.store.tracking_uri import TRACKING_URI_VARIABLE
from formers.lab.store.trials import trial_key, trial_number
from formers.lab.study.candidates import candidates
from formers.lab.study.choosing import best_candidates, front_candidates, search_id
from formers.lab.study.study import Study
from formers.lab.study.yaml import read_study

YAML, DATABASE = "study.yaml", "mlflow.db"


def stored_results(folder: Path) -> Results:
    """Return the results of the study in `folder`: the newest row of every arm and seed.

    Rows come from the study's store, and from report.json where the store has none. A study that is not finished has
    the rows which it has so far.

    Raises:
        FileNotFoundError: where there is neither a store nor a report.json with a row.
        ValueError: where a row cannot be read.
    """
    published = load(folder / JSON) if (folder / JSON).is_file() else None
    before = {_key(row): row for row in (*published.rows, *published.search)} if published else {}
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


def _key(row: Row) -> tuple[Any, ...]:
    return row.is_search, row.search_id, trial_key(row.arm, row.options), row.seed


def _rows(study: Study, before: dict[tuple[Any, ...], Row]) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """Return the rows of a study in the order of its arms, and those of its search.

    They are from its store, and those `before` that are not there. Ranked are the runs with what the search chooses.
    """
    store = Store(study.folder, experiment_name(study.folder))
    known = before | {_key(row): row for row in store.rows().values()}
    if study.space:
        return _rows_of_space(study, known)
    tried = [(seed, it) for seed in study.search_seeds for arm in study.arms for it in candidates(study, arm)]
    wanted = [(True, "", trial_key(it.arm.name, it.options), seed) for seed, it in tried]
    search = tuple(known[name] for name in wanted if name in known)
    taken = best_candidates(study, search)
    ranked = [(False, "", trial_key(name, it.options), seed) for seed in study.seeds for name, it in taken.items()]
    return tuple(known[name] for name in ranked if name in known), search


def _rows_of_space(study: Study, known: dict[tuple[Any, ...], Row]) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """Return the rows of a study with a larger search: of its arms and the front, and of the trials that it has."""
    own = search_id(study)
    newest = {(row.arm, row.seed): row for row in known.values() if row.search_id == own}
    search = tuple(newest[name] for name in sorted(newest, key=lambda it: (trial_number(it[0]), it[1])))
    chosen = [trial_key(arm.name, {}) for arm in study.arms]
    chosen += [trial_key(it.arm.name, it.options) for it in front_candidates(study, search)]
    ranked = [(False, "", key, seed) for seed in study.seeds for key in chosen]
    return tuple(known[name] for name in ranked if name in known), search
