"""`formers ui` hands MLflow the address of the study's own file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Run = Callable[..., Result]


def test_the_page_is_of_the_studys_own_rows(here: Path, command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr("formers.cli.ui.has_page", lambda: True)
    monkeypatch.setattr(os, "execv", lambda program, words: started.append(words))
    assert command("ui", "study", "--port", "5001").exit_code == 0
    assert started[0][-4:] == ["--backend-store-uri", f"sqlite:///{here}/study/mlflow.db", "--port", "5001"]
    (here / "study").rename(here / "what?x")
    done = command("ui", "what?x")
    assert done.exit_code == 2
    assert "has ? in it" in done.output
    assert len(started) == 1
