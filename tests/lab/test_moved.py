"""A study's folder that is moved, renamed or copied goes on where it is."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from formers.cli.app import app
from formers.lab import Stopped, Study, run
from formers.lab.report.stored_results import stored_results
from formers.lab.train.progress import Silent


class StopsInTheSecond(Silent):
    """Ctrl-C in the second arm."""

    def __init__(self) -> None:
        self.arms = 0

    def begin(self, label: str, steps: int) -> None:
        self.arms += 1

    def step(self, label: str, done: int) -> None:
        if self.arms == 2 and done == 3:
            raise KeyboardInterrupt


def broken_off(study: Study) -> Path:
    with pytest.raises(Stopped):
        run(study, StopsInTheSecond())
    return study.folder


def cli(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.output


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_moved_study_goes_on_where_it_is(small: Study, empty_database: Path, tmp_path: Path) -> None:
    old = broken_off(small)
    new = tmp_path / "elsewhere" / "renamed"
    new.parent.mkdir()
    old.rename(new)
    assert [row.arm for row in stored_results(new).rows] == ["softmax"]
    said = cli("ablate", new / "study.yaml")
    assert "softmax: 8 steps" not in said  # kept from before
    assert "identity: 8 steps" in said
    assert not old.exists()
    assert len(list(new.glob("artifacts/*/artifacts/row.json"))) == 2
    assert "8 steps" not in cli("ablate", new / "study.yaml")
    whole = replace(small, folder=tmp_path / "whole")
    whole.folder.mkdir()
    shutil.copy(empty_database, whole.folder / "mlflow.db")
    wanted = {row.arm: row.metrics for row in run(whole).rows}
    assert {row.arm: row.metrics for row in stored_results(new).rows} == wanted
    new.rename(old)  # and back
    assert {row.arm: row.metrics for row in stored_results(old).rows} == wanted
    assert "8 steps" not in cli("ablate", old / "study.yaml", "--seeds", "1")


def test_a_copy_leaves_its_original_alone(small: Study, tmp_path: Path) -> None:
    old = broken_off(small)
    before = files(old)
    shutil.copytree(old, tmp_path / "copy")
    assert "softmax: 8 steps" not in cli("ablate", tmp_path / "copy" / "study.yaml")
    assert [row.status for row in stored_results(tmp_path / "copy").rows] == ["finished", "finished"]
    assert files(old) == before


def test_a_report_of_a_moved_study_changes_none_of_its_rows(one_arm: Study, tmp_path: Path) -> None:
    run(one_arm)
    one_arm.folder.rename(tmp_path / "moved")
    before = files(tmp_path / "moved")
    cli("report", tmp_path / "moved", "--html", tmp_path / "page.html")
    assert files(tmp_path / "moved") == before
