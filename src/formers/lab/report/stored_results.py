"""The results of a study that ran before, from the files in its folder."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from formers.lab.report.json_file import load
from formers.lab.report.study_files import JSON
from formers.lab.report.study_results import study_results
from formers.lab.store.records import Results, Row
from formers.lab.store.store import Store
from formers.lab.store.tracking_uri import TRACKING_URI_VARIABLE
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
    before = {(row.arm, row.seed): row for row in published.rows} if published else {}
    if (folder / YAML).is_file() and (os.environ.get(TRACKING_URI_VARIABLE) or (folder / DATABASE).is_file()):
        study = replace(read_study(folder / YAML), folder=folder)
        if rows := _rows(study, before):
            return study_results(study, rows, study.checked_task.references())
    if published is None:
        raise FileNotFoundError(
            f"there is no study in {folder}: neither {YAML} with {DATABASE} and a row in it, nor {JSON}"
        )
    return published


def _rows(study: Study, before: dict[tuple[str, int], Row]) -> tuple[Row, ...]:
    """Return the rows of a study in the order of its arms: from its store, and those `before` that are not there."""
    store = Store(study.folder, f"formers/{study.folder.resolve().name}")
    known = before | {(row.arm, row.seed): row for row in store.rows().values()}
    wanted = [(arm.name, seed) for seed in study.seeds for arm in study.arms]
    return tuple(known[key] for key in wanted if key in known)
