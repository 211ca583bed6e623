"""`formers ablate` in a process of its own, ended by signals, then started again: to the bit what a run in one go
gives."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from formers.lab import Study, run, write_study

Ablate = Callable[[Study], AbstractContextManager[Any]]
WAITING = '''
"""Shakespeare whose second evaluation waits while there is a file `wait` beside this one, so that a signal finds it."""

import time
from itertools import count
from pathlib import Path

from formers.tasks import Shakespeare

evaluations = count()


class Waiting(Shakespeare):
    def evaluate(self, model, split="validation"):
        if next(evaluations) == 1:
            while Path(__file__).with_name("wait").exists():
                time.sleep(0.02)
        return super().evaluate(model, split)
'''


@pytest.fixture
def waiting(small: Study, small_text: Path, tmp_path: Path) -> Study:
    """The study in `tmp_path/study`: eight steps, evaluated after each second one."""
    (tmp_path / "waiting.py").write_text(WAITING)
    task = f"{tmp_path}/waiting.py:waiting(length=16, path={str(small_text)!r})"
    study = replace(small, task=task, budget=replace(small.budget, evaluations=4))
    write_study(study, study.folder / "study.yaml")
    return study


@pytest.fixture
def ablate(python: Any) -> Ablate:
    """`formers ablate …/study.yaml`; killed where a test fails before it has ended."""

    @contextmanager
    def started(study: Study) -> Iterator[Any]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with python.start("-m", "formers", "ablate", study.folder / "study.yaml", env=environment) as process:
            try:
                yield process
            finally:
                process.kill()

    return started


def hear(process: Any, words: str) -> None:
    """Waits for a line that holds these words."""
    if not any(words in line for line in process.stdout):
        raise AssertionError(f"{words!r} was never said, but: {process.stderr.read()}")


def weights(study: Study) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in study.folder.glob("models/*/model.safetensors")}


def measured(row: dict[str, Any]) -> list[Any]:
    curve = [(point["step"], point["values"]) for point in row["curve"]]
    return [row["arm"], row["status"], row["metrics"], row["chosen_step"], row["samples"], curve]


def outcomes(study: Study) -> list[Any]:
    return [measured(row) for row in json.loads((study.folder / "report.json").read_text())["rows"]]


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, 130),
        pytest.param(signal.SIGTERM, 130, marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, -signal.SIGKILL, marks=pytest.mark.slow),
    ],
)
def test_ended_from_outside_and_started_again(
    waiting: Study, empty_database: Path, ablate: Ablate, number: int, code: int
) -> None:
    wait = waiting.folder.with_name("wait")
    wait.touch()
    with ablate(waiting) as first:
        hear(first, "step 2/8")
        with ablate(waiting) as second:
            out, refused = second.communicate(timeout=60)
        assert second.returncode == 2, out
        assert f"formers: {waiting.folder} is in use by process {first.pid} on " in refused
        first.send_signal(number)
        wait.unlink()
        _, said = first.communicate(timeout=60)
    assert first.returncode == code
    if number != signal.SIGKILL:
        assert "stopping after this step, with a checkpoint; Ctrl-C again stops at once" in said
        assert "stopped: 0 of 2 runs are done; 'softmax' is kept at step " in said
        assert f"Go on with: formers ablate {waiting.folder}/study.yaml" in said
    assert not (waiting.folder / "report.html").exists()
    with ablate(waiting) as again:
        out, said = again.communicate(timeout=60)
    assert again.returncode == 0, said
    assert "softmax: going on from step " in out
    assert ("softmax: the last attempt died after step " in out) == (number == signal.SIGKILL)
    whole = replace(waiting, folder=waiting.folder.with_name("whole"))
    whole.folder.mkdir()
    shutil.copy(empty_database, whole.folder / "mlflow.db")
    run(whole)
    assert weights(waiting) == weights(whole) != {}
    assert outcomes(waiting) == outcomes(whole)
