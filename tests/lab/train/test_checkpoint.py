from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from formers.lab.train import checkpoint
from formers.lab.train.checkpoint import MANIFEST, ForeignCheckpoint, newest_checkpoint, seal_checkpoint


def written(folder: Path, step: int) -> Path:
    path = folder / f"checkpoint-{step}"
    (path / "inner").mkdir(parents=True)
    (path / "model.safetensors").write_bytes(bytes(range(200)))
    (path / "inner" / "state.json").write_text("{}")
    return path


def sealed(folder: Path, step: int, job: str = "mine") -> Path:
    path = written(folder, step)
    seal_checkpoint(path, job)
    return path


def test_the_newest_sealed_one_is_found(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path / "none", "mine") == checkpoint.ResumePoint(None)
    sealed(tmp_path, 9)
    sealed(tmp_path, 10)
    written(tmp_path, 11)
    found = newest_checkpoint(tmp_path, "mine")
    assert found.path == tmp_path / "checkpoint-10"
    assert found.step == 10
    assert found.notes == ("the checkpoint of step 11 cannot be used: it was broken off while it was written",)


def test_two_are_left_and_none_that_is_broken(tmp_path: Path) -> None:
    for step in (2, 4, 100):
        sealed(tmp_path, step)
    written(tmp_path, 5)
    sealed(tmp_path, 6)  # 100 could not be used, or the training would not be here
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-4", "checkpoint-6"}


def cut(path: Path) -> None:
    with (path / "model.safetensors").open("r+b") as file:
        file.truncate(100)


def turn_a_bit(path: Path) -> None:
    data = bytearray((path / "model.safetensors").read_bytes())
    data[77] ^= 1
    (path / "model.safetensors").write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut, "model.safetensors has 100 bytes of 200"),
        (turn_a_bit, "model.safetensors is not what was written"),
        (lambda path: shutil.rmtree(path / "inner"), "inner/state.json is missing"),
        (lambda path: (path / MANIFEST).write_text("{"), "its complete.json cannot be read"),
        (lambda path: (path / MANIFEST).write_text("[]"), "its complete.json cannot be read"),
    ],
)
def test_a_damaged_one_is_passed_over_and_named(tmp_path: Path, damage: Callable[[Path], None], reason: str) -> None:
    sealed(tmp_path, 3)
    damage(sealed(tmp_path, 6))
    found = newest_checkpoint(tmp_path, "mine")
    assert found.path == tmp_path / "checkpoint-3"
    assert found.notes == (f"the checkpoint of step 6 cannot be used: {reason}",)


def test_a_foreign_one_is_left_alone(tmp_path: Path) -> None:
    path = sealed(tmp_path, 3, "yours")
    with pytest.raises(ForeignCheckpoint, match="move it away"):
        newest_checkpoint(tmp_path, "mine")
    facts = json.loads((path / MANIFEST).read_text())
    (path / MANIFEST).write_text(json.dumps({**facts, "job": "mine", "format": 99}))
    with pytest.raises(ForeignCheckpoint, match="this version"):
        newest_checkpoint(tmp_path, "mine")
    assert path.is_dir()


def test_other_versions_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed(tmp_path, 3)
    facts = checkpoint.environment()
    monkeypatch.setattr(checkpoint, "environment", lambda: {**facts, "torch": "99"})
    [note] = newest_checkpoint(tmp_path, "mine").notes
    assert f"torch {facts['torch']} → 99" in note
    assert "threads" not in note
