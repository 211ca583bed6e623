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
    (path / "trainer_state.json").write_text("{}")
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


def changed(**facts: object) -> Callable[[Path], None]:
    """Change facts of a manifest, or take away those that are None."""

    def change(path: Path) -> None:
        data = {**json.loads((path / MANIFEST).read_text()), **facts}
        (path / MANIFEST).write_text(json.dumps({name: value for name, value in data.items() if value is not None}))

    return change


def unhashed(name: str) -> Callable[[Path], None]:
    """Take the hash of one file out of a manifest."""

    def change(path: Path) -> None:
        files = json.loads((path / MANIFEST).read_text())["files"]
        del files[name]["sha256"]
        changed(sha256=None, files=files)(path)

    return change


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut, "model.safetensors has 100 bytes of 200"),
        (turn_a_bit, "model.safetensors is not what was written"),
        (lambda path: shutil.rmtree(path / "inner"), "inner/state.json is missing"),
        (lambda path: (path / MANIFEST).write_text("{"), "its complete.json cannot be read: this is no JSON: "),
        (lambda path: (path / MANIFEST).write_text("[" * 99999), "its complete.json cannot be read: this is no JSON: "),
        (lambda path: (path / MANIFEST).write_bytes(b"\xff"), "its complete.json cannot be read: "),
        (lambda path: (path / MANIFEST).write_text("[]"), "its complete.json cannot be read: an object is expected"),
        (changed(step="9"), "its complete.json cannot be read: its content does not fit its sha256"),
        (changed(sha256=None, files=None), "its complete.json cannot be read: it holds no 'files'; restore"),
        (changed(sha256=None, files=[]), "its complete.json cannot be read: 'files' is no dict"),
        (changed(sha256=None, files={}), "complete.json holds no hash of inner/state.json, so that it may be anything"),
        (changed(sha256=None, files={"trainer_state.json": {}}), "complete.json holds no hash of inner/state.json"),
        (unhashed("model.safetensors"), "complete.json holds no hash of model.safetensors, so that it may be anything"),
        (lambda path: (path / "model-2.safetensors").touch(), "complete.json holds no hash of model-2.safetensors"),
        (lambda path: (path / "trainer_state.json").unlink(), "trainer_state.json is missing"),
    ],
)
def test_a_damaged_one_is_passed_over_and_named(tmp_path: Path, damage: Callable[[Path], None], reason: str) -> None:
    sealed(tmp_path, 3)
    damage(sealed(tmp_path, 6))
    found = newest_checkpoint(tmp_path, "mine")
    assert found.path == tmp_path / "checkpoint-3"
    assert len(found.notes) == 1
    assert found.notes[0].startswith(f"the checkpoint of step 6 cannot be used: {reason}")


def test_what_operating_systems_leave_damages_nothing(tmp_path: Path) -> None:
    path = sealed(tmp_path, 6)
    for name in (".DS_Store", "Thumbs.db", "._model.safetensors"):
        (path / name).touch()
    assert newest_checkpoint(tmp_path, "mine").path == path


def test_the_best_weights_are_part_of_it_once_there_are_some(tmp_path: Path) -> None:
    sealed(tmp_path, 3)
    found = newest_checkpoint(tmp_path, "mine", evaluated_from=3)
    assert found.path is None
    assert "kept the best weights so far without a hash" in found.notes[0]
    assert newest_checkpoint(tmp_path, "mine", evaluated_from=4).path == tmp_path / "checkpoint-3"


def test_a_foreign_one_is_left_alone(tmp_path: Path) -> None:
    path = sealed(tmp_path, 3, "yours")
    with pytest.raises(ForeignCheckpoint, match="move it away"):
        newest_checkpoint(tmp_path, "mine")
    changed(sha256=None, job="mine", format=99)(path)
    with pytest.raises(ForeignCheckpoint, match="this version"):
        newest_checkpoint(tmp_path, "mine")
    assert path.is_dir()


def test_other_versions_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed(tmp_path, 3)
    facts = checkpoint.environment("cpu")
    monkeypatch.setattr(checkpoint, "environment", lambda device: {**facts, "torch": "99"})
    [note] = newest_checkpoint(tmp_path, "mine").notes
    assert f"torch {facts['torch']} → 99" in note
    assert "threads" not in note
