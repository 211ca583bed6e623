"""Files of a stopped training that are changed before it goes on: they are noticed, and the result is the same bits."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from formers.lab import Arm, Budget, Stopped, Study, run
from formers.lab.train.progress import Silent

Change = Callable[[Path], object]


class Listening(Silent):
    """Notes what is told, and asks for a stop after one step."""

    def __init__(self, stop_at: int = 0) -> None:
        self.stop_at, self.notes = stop_at, list[str]()

    def step(self, label: str, done: int) -> None:
        if done == self.stop_at:
            signal.raise_signal(signal.SIGTERM)

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="module")
def origin(small_text: Path, empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study of one arm, without a folder of its own."""
    folder = tmp_path_factory.mktemp("origin") / "empty"
    folder.mkdir()
    shutil.copy(empty_database, folder / "mlflow.db")
    return Study(
        task=f"shakespeare(length=16, path={str(small_text)!r})",
        base={"width": 16, "depth": 1, "heads": 2, "position": "learned", "dropout": 0.1},
        arms=(Arm("softmax", {"mixer": "softmax"}),),
        budget=Budget(steps=8, batch_size=2, evaluations=4, learning_rate=0.05),
        folder=folder,
    )


def copy_of(study: Study, folder: Path) -> Study:
    shutil.copytree(study.folder, folder)
    return replace(study, folder=folder)


@pytest.fixture(scope="module")
def stopped(origin: Study) -> Study:
    """Stopped after step 5: sealed checkpoints of steps 4 and 5, each with the best weights so far."""
    study = copy_of(origin, origin.folder.with_name("stopped"))
    with pytest.raises(Stopped):
        run(study, Listening(5))
    return study


def outcome(study: Study) -> tuple[Any, ...]:
    """What has to be the same to the bit."""
    [row] = run(study).rows
    [model] = study.folder.glob("models/*/model.safetensors")
    return row.status, row.metrics, row.chosen_step, row.validation, row.items, row.samples, model.read_bytes()


@pytest.fixture(scope="module")
def whole(origin: Study) -> tuple[Any, ...]:
    return outcome(copy_of(origin, origin.folder.with_name("whole")))


def rewritten(name: str, change: Callable[[bytes], bytes]) -> Change:
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


def last_bit(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def weights(change: Callable[[torch.Tensor], torch.Tensor]) -> Change:
    """Change the numbers in the best weights, whose step and value stay."""

    def write(folder: Path) -> None:
        path = folder / "best.safetensors"
        step = {"step": "2", "value": "0.0"}
        save_file({name: change(weight) for name, weight in load_file(path).items()}, path, metadata=step)

    return write


def manifest(change: Callable[[dict[str, Any]], object]) -> Change:
    def write(folder: Path) -> None:
        path = folder / "checkpoint-5" / "complete.json"
        facts = json.loads(path.read_text())
        change(facts)
        path.write_text(json.dumps(facts))

    return write


NEWEST, OLDER = "going on from step 5", "going on from step 4"
CHANGES: dict[str, tuple[Change, str]] = {
    "zeros for the best weights": (weights(torch.zeros_like), NEWEST),
    "another model's best weights": (weights(torch.randn_like), NEWEST),
    "no best weights": (lambda folder: (folder / "best.safetensors").unlink(), NEWEST),
    "best weights of nothing": (rewritten("best.safetensors", lambda data: b""), NEWEST),
    "crashes that are none": (lambda folder: (folder / "attempt.json").write_text('{"deaths": ["x"]}'), NEWEST),
    "a manifest without files": (manifest(lambda facts: facts.pop("files")), OLDER),
    "a manifest without hashes": (manifest(lambda facts: facts["files"].clear()), OLDER),
    "a manifest of another job": (manifest(lambda facts: facts.update(job="other")), OLDER),
    "a manifest that is a number": (rewritten("checkpoint-5/complete.json", lambda data: b"7"), OLDER),
}
FILES = ("best", "model", "optimizer", "process-0")
CHANGES |= {f"a bit of {name}": (rewritten(f"checkpoint-5/{name}.safetensors", last_bit), OLDER) for name in FILES}
CHANGES["a bit of trainer_state"] = (rewritten("checkpoint-5/trainer_state.json", last_bit), OLDER)


@pytest.mark.parametrize("name", CHANGES)
def test_what_was_changed_after_a_stop_is_noticed(
    stopped: Study, whole: tuple[Any, ...], tmp_path: Path, name: str
) -> None:
    study = copy_of(stopped, tmp_path / "study")
    change, says = CHANGES[name]
    [folder] = study.folder.glob("checkpoints/*")
    change(folder)
    heard = Listening()
    run(study, heard)
    assert says in " ".join(heard.notes)
    assert outcome(study) == whole


def test_a_folder_of_a_version_that_kept_best_weights_without_a_hash_starts_its_arm_again(
    stopped: Study, whole: tuple[Any, ...], tmp_path: Path
) -> None:
    study = copy_of(stopped, tmp_path / "study")
    for path in study.folder.glob("checkpoints/*/checkpoint-*"):
        facts = json.loads((path / "complete.json").read_text())
        del facts["files"]["best.safetensors"], facts["sha256"]
        (path / "complete.json").write_text(json.dumps(facts))
        (path / "best.safetensors").unlink()
    heard = Listening()
    run(study, heard)
    assert "kept the best weights so far without a hash" in " ".join(heard.notes)
    assert "starting at the beginning" in heard.notes[-1]
    assert outcome(study) == whole
