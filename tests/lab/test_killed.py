"""Processes that die: what is kept, and that going on gives what a run in one go gives, to the bit."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
Ends = tuple[Path, dict[str, Any]]
DYING = Path(__file__).with_name("dying.py")


FEW = {
    "before a checkpoint is sealed": ("softmax, identity", "checkpoint of step 6 cannot be used: it was broken off"),
    "while a row is saved": ("softmax, identity", "going on from step 8"),
    "while the report is written": ("", ""),
}
"""Moment → the arms that train after it, and what is said then."""
MANY = {
    "in a step": ("softmax, identity", "going on from step 2"),
    "in a step of the second arm": ("identity", "going on from step 6"),
    "between a checkpoint's files": ("softmax, identity", "broken off while it was written"),
    "before older checkpoints go": ("softmax, identity", "going on from step 6"),
    "while the best weights are written": ("softmax, identity", "going on from step 2"),
    "while the model is saved": ("softmax, identity", "going on from step 8"),
    "after a row is saved": ("identity", ""),
    "between arms": ("identity", ""),
}


@pytest.fixture(scope="module")
def died(
    python: Any, small_text: Path, empty_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Ends]:
    """Kills studies at some moments: the folder that they are in, and how their processes ended."""

    def run(*moments: str) -> Ends:
        folder = tmp_path_factory.mktemp("died")
        done = python.run(DYING, small_text, empty_database, folder, *moments, env=ENVIRONMENT)
        assert done.returncode == 0, done.out + done.err
        return folder, json.loads(done.out)

    return run


def facts(study: Path) -> dict[str, Any]:
    return json.loads((study / "facts.json").read_text())


def weights(study: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in study.glob("models/*/model.safetensors")}


def check(folder: Path, ends: dict[str, Any], moment: str, trains: str, says: str, task: str = "Shakespeare") -> None:
    name = f"{task}-{moment.replace(' ', '-')}"
    assert ends[name] == {"signal": signal.SIGKILL, "then": 0}, moment
    whole, again = facts(folder / f"{task}-whole"), facts(folder / name)
    assert again["rows"] == whole["rows"], moment
    assert weights(folder / name) == weights(folder / f"{task}-whole") != {}, moment
    assert ", ".join(again["began"]) == trains, moment
    assert says in " ".join(again["notes"]), moment
    assert (folder / name / "report.html").is_file(), moment
    assert not list((folder / name).glob("checkpoints/*")), moment
    assert not list((folder / name).glob("models/.*")), moment


def test_killed_and_started_again(died: Callable[..., Ends]) -> None:
    folder, ends = died(*FEW)
    for moment, (trains, says) in FEW.items():
        check(folder, ends, moment, trains, says)
    name = "Finite-in-a-step-of-the-second-arm"  # at step 7: examples 12 and 13 of six, the third epoch
    assert ends[name] == {"signal": signal.SIGKILL, "then": 0}
    assert (
        facts(folder / name)["rows"]
        == facts(folder / "Finite-whole")["rows"]
        != facts(folder / "Shakespeare-whole")["rows"]
    )
    assert weights(folder / name) == weights(folder / "Finite-whole") != {}
    check(folder, ends, "in a step of the second arm", "recurrent", "going on from step 6", task="Contiguous")


@pytest.mark.slow
def test_killed_at_other_moments(died: Callable[..., Ends]) -> None:
    folder, ends = died(*MANY)
    for moment, (trains, says) in MANY.items():
        check(folder, ends, moment, trains, says)
