"""Commands run in this process, in a folder of their own, on a text of their own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from formers.cli.app import app
from formers.lab import Store

torch.set_num_threads(1)  # the models here are so small that threads only wait for each other

Run = Callable[..., Result]


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow takes two seconds to make its tables; copies of them take none."""
    folder = tmp_path_factory.mktemp("database")
    Store(folder, "unused")
    return folder / "mlflow.db"


@pytest.fixture
def here(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: it holds `words.txt`, and `study/` with an empty database."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words.txt").write_text("how many words would a wordsmith smith?\n" * 80)
    (tmp_path / "study").mkdir()
    shutil.copy(empty_database, tmp_path / "study" / "mlflow.db")
    return tmp_path


@pytest.fixture
def command(here: Path) -> Run:
    """Runs a command line and returns what it printed and how it ended."""

    def run(*words: str) -> Result:
        return CliRunner().invoke(app, [str(word) for word in words])

    return run
