"""A study that trains in a second: a short text of its own, a tiny model, few steps."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from formers.lab import Arm, Budget, Store, Study

WORDS = "the quick brown fox jumps over the lazy dog; pack my box with five dozen liquor jugs.\n"


torch.set_num_threads(1)  # the models here are so small that threads only wait for each other


@pytest.fixture(scope="session")
def small_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "words.txt"
    path.write_text(WORDS * 38 + WORDS[::-1] * 2, encoding="utf-8")  # the test split is unlike the others
    return path


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow takes two seconds to make its tables; copies of them take none."""
    folder = tmp_path_factory.mktemp("database")
    Store(folder, "unused")
    return folder / "mlflow.db"


@pytest.fixture
def small(small_text: Path, empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "study"
    folder.mkdir()
    shutil.copy(empty_database, folder / "mlflow.db")
    return Study(
        task=f"shakespeare(length=16, path={str(small_text)!r})",
        base={"width": 16, "depth": 1, "heads": 2, "position": "learned", "dropout": 0.1},
        arms=(Arm("softmax", {"mixer": "softmax"}), Arm("identity", {"mixer": "identity"})),
        budget=Budget(steps=8, batch_size=2, evaluations=2),
        folder=folder,
    )


@pytest.fixture
def one_arm(small: Study) -> Study:
    return replace(small, arms=small.arms[:1])
