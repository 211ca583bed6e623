"""Disks that are full, files that are damaged, and what is in the way: said clearly, and nothing is lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow.store.artifact.local_artifact_repo as artifacts
import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from typer.testing import CliRunner

import formers.lab.report.json_file
import formers.lab.train.checkpoint
import formers.lab.train.trainer
from formers.cli.app import app
from formers.lab import Study, run, write_study

FULL = OSError(errno.ENOSPC, "No space left on device")
FULL_DATABASE = MlflowException("(sqlite3.OperationalError) database or disk is full [SQL: INSERT INTO runs]")


def ablate(folder: Path) -> tuple[int, str]:
    """How `formers ablate` with the description in a folder ends, and what it says."""
    done = CliRunner().invoke(app, ["ablate", str(folder / "study.yaml")])
    return done.exit_code, done.output


def full(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int, error: Exception = FULL) -> None:
    """From its `call`-th call on, something finds no more room."""
    original, calls = getattr(owner, name), 0

    def fills(*given: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls >= call:
            raise error
        return original(*given, **options)

    monkeypatch.setattr(owner, name, fills)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def weights(study: Study) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in study.folder.glob("models/*/model.safetensors")}


@pytest.mark.parametrize(
    ("owner", "name", "call", "error", "kept"),
    [
        (formers.lab.train.trainer, "save_state", 3, FULL, "a checkpoint in"),
        (formers.lab.train.checkpoint, "flush_to_disk", 12, FULL, "a checkpoint in"),
        (MlflowClient, "log_batch", 1, FULL_DATABASE, "the row of 'identity' in MLflow at"),
        (artifacts.LocalArtifactRepository, "log_artifact", 1, FULL, "the row of 'identity' in"),
        (os, "replace", 1, FULL, "the study's description in"),
        (formers.lab.report.json_file, "to_json", 1, FULL, "the report in"),
    ],
)
def test_a_full_disk_stops_a_study_that_then_goes_on(
    small: Study,
    empty_database: Path,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    call: int,
    error: Exception,
    kept: str,
) -> None:
    run(replace(small, arms=small.arms[:1]))
    page = (small.folder / "report.html").read_bytes()
    write_study(small, small.folder / "study.yaml")
    with monkeypatch.context() as patch:
        full(patch, owner, name, call, error)
        code, said = ablate(small.folder)
    assert code == 2, said
    assert f"formers: cannot keep {kept}" in said
    assert "[SQL" not in said
    reason = "database or disk is full" if error is FULL_DATABASE else "No space left on device"
    assert (
        f"{reason}\nWhat was kept before is still there. Go on with: formers ablate {small.folder}/study.yaml" in said
    )
    assert (small.folder / "report.html").read_bytes() == page
    code, said = ablate(small.folder)
    assert code == 0, said
    assert "softmax: 8 steps" not in said  # kept from before
    whole = replace(small, folder=small.folder.with_name("whole"))
    whole.folder.mkdir()
    shutil.copy(empty_database, whole.folder / "mlflow.db")
    assert [row.metrics for row in run(small).rows] == [row.metrics for row in run(whole).rows]
    assert weights(small) == weights(whole) != {}
    assert (small.folder / "report.html").read_bytes() != page
    assert not list(small.folder.rglob("*.part"))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def overwrite(path: Path) -> None:
    """Garbage where the tables are; the head is whole."""
    data = path.read_bytes()
    path.write_bytes(data[:4096] + os.urandom(len(data) - 4096))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut, "database disk image is malformed"),
        (overwrite, "database disk image is malformed"),
        (lambda path: path.write_bytes(os.urandom(9999)), "file is not a database"),
        (lambda path: path.write_bytes(b""), "it is empty"),
        (lambda path: (path.unlink(), path.mkdir()), "it is not a file"),
    ],
)
def test_a_damaged_database_is_named_and_left_alone(
    small: Study, damage: Callable[[Path], object], reason: str
) -> None:
    write_study(small, small.folder / "study.yaml")
    damage(small.folder / "mlflow.db")
    before = files(small.folder)
    code, said = ablate(small.folder)
    assert code == 2, said
    assert f"cannot keep rows in MLflow at {small.folder}/mlflow.db: " in said
    assert reason in said
    assert "move it away or restore a copy: without it, every arm trains again" in said
    assert "[SQL" not in said
    after = files(small.folder)
    after.pop(".lock")
    assert after == before


def change(**fields: object) -> Callable[[Path], object]:
    return lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.mark.parametrize("command", ["ablate", "report"])
def test_a_row_that_cannot_be_read_is_named_and_left_alone(one_arm: Study, command: str) -> None:
    run(one_arm)
    [row] = one_arm.folder.glob("artifacts/*/artifacts/row.json")
    whole = row.read_text()
    damages: list[tuple[Callable[[Path], object], str]] = [
        (change(colour="red"), f"the row of 'softmax' cannot be read from file://{row}: it is not what was written"),
        (lambda path: path.write_text("[]"), "it is not what was written"),
        (lambda path: path.write_text(whole[:100]), f"the row of 'softmax' cannot be read from file://{row}"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00"), f"the row of 'softmax' cannot be read from file://{row}"),
        (lambda path: path.unlink(), f"the row of 'softmax' cannot be read from file://{row}"),
    ]
    for damage, words in damages:
        damage(row)
        before = files(one_arm.folder)
        place = one_arm.folder / "study.yaml" if command == "ablate" else one_arm.folder
        done = CliRunner().invoke(app, [command, str(place)])
        assert done.exit_code == 2, done.output
        assert words in done.output
        assert "Nothing was changed" in done.output
        assert files(one_arm.folder) == before
        row.write_text(whole)
    assert ablate(one_arm.folder)[0] == 0


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (".lock", "cannot keep a lock in {place}: Is a directory"),
        ("report.html", "cannot keep the report in {place}: Is a directory: {place}/report.html"),
        ("models", "cannot keep the trained model in"),
        ("artifacts", "cannot keep the row of 'softmax' in"),
        ("checkpoints", "cannot keep how far the training is in"),
    ],
)
def test_a_file_for_a_folder_and_the_reverse(one_arm: Study, name: str, words: str) -> None:
    """Permissions would not stop the owner of a machine; this stops everybody."""
    write_study(one_arm, one_arm.folder / "study.yaml")
    wrong = one_arm.folder / name
    if "." in name:
        wrong.mkdir()
    else:
        wrong.write_text("mine")
    code, said = ablate(one_arm.folder)
    assert code == 2, said
    assert f"formers: {words.format(place=one_arm.folder)}" in said
    assert wrong.is_dir() or wrong.read_text() == "mine"
    wrong.rmdir() if wrong.is_dir() else wrong.unlink()
    code, said = ablate(one_arm.folder)
    assert code == 0, said
