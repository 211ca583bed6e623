"""What cases start from: a text, a trained model, a finished study, a table of texts; made once, in one folder."""

from __future__ import annotations

import json
import os
import shutil
from functools import cache
from pathlib import Path

import torch

from formers.lab import Arm, Budget, Study, run, write_study
from formers.lab.store.database import make_database

HOME = "FORMERS_CAMPAIGN"
"""The environment variable that tells worker processes where the stand is."""
WORDS = "the quick brown fox jumps over the lazy dog; pack my box with five dozen liquor jugs.\n"


@cache
def stand() -> Path:
    """Return the folder of the stand."""
    return Path(os.environ[HOME])


def make_stand(folder: Path) -> None:
    """Make the stand in a folder, and import what cases need, so that no worker has to.

    The study has two arms, which train for a few steps; its models and its report are there.
    """
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401

    import formers.cli.app
    import formers.testing  # noqa: F401

    torch.set_num_threads(1)
    os.environ[HOME] = str(folder)
    for variable in ("MLFLOW_TRACKING_URI", "FORMERS_DATA"):
        os.environ.pop(variable, None)
    (folder / "words.txt").write_text(WORDS * 38 + WORDS[::-1] * 2, encoding="utf-8")
    (folder / "empty").mkdir()
    make_database(folder / "empty" / "mlflow.db")
    study = small_study(folder, folder / "study")
    run(study)
    write_study(study, folder / "study.yaml")


def small_study(stand_folder: Path, folder: Path, task: object = None) -> Study:
    """Return a study of two arms and a few steps; its folder is made, with a database without rows in it."""
    folder.mkdir()
    shutil.copy(stand_folder / "empty" / "mlflow.db", folder / "mlflow.db")
    return Study(
        task=task or f"shakespeare(length=16, path={str(stand_folder / 'words.txt')!r})",
        base={"width": 16, "depth": 1, "heads": 2, "position": "learned"},
        arms=(Arm("softmax", {"mixer": "softmax"}), Arm("identity", {"mixer": "identity"})),
        budget=Budget(steps=2, batch_size=2, evaluations=1),
        folder=folder,
    )


def model_folder() -> Path:
    """Return the folder of a trained model."""
    return min((stand() / "study" / "models").iterdir())


@cache
def report_json() -> dict[str, object]:
    """Return the report of the study as data."""
    data: dict[str, object] = json.loads((stand() / "study" / "report.json").read_text(encoding="utf-8"))
    return data
