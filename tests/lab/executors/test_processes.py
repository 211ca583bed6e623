from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from formers.lab import Arm, Processes, Stopped, Store, Study, run
from formers.lab.train.progress import Silent

SLOW = {"steps": 3000, "evaluations": 1}  # still running when it is stopped or killed


def models(study: Study) -> dict[str, dict[str, torch.Tensor]]:
    return {file.parent.name: load_file(file) for file in study.folder.glob("models/*/model.safetensors")}


class Listens(Silent):
    """Keeps what was told, and does something when an arm has taken its first steps."""

    def __init__(self, then: object = None) -> None:
        self.told, self.then = list[tuple[str, str]](), then

    def begin(self, label: str, steps: int) -> None:
        self.told.append(("begin", label))

    def step(self, label: str, done: int) -> None:
        self.told.append(("step", label))
        if callable(self.then):
            self.then(label)

    def measured(self, label: str, done: int, values: dict[str, float]) -> None:
        self.told.append(("measured", label))


def children() -> dict[int, str]:
    """Workers of this process, by pid, in the order in which they were started."""
    import multiprocessing

    return {p.pid: p.name for p in sorted(multiprocessing.active_children(), key=lambda p: p.pid or 0) if p.pid}


def test_side_by_side_is_in_turn_to_the_bit(small: Study) -> None:
    apart = replace(small, folder=small.folder.with_name("apart"))
    progress = Listens()
    found, expected = run(apart, progress, Processes(2)), run(small)
    assert [row.metrics for row in found.rows] == [row.metrics for row in expected.rows]
    assert [row.validation for row in found.rows] == [row.validation for row in expected.rows]
    weights, wanted = models(apart), models(small)
    assert weights.keys() == wanted.keys()
    assert all(weights[arm][name].equal(value) for arm in wanted for name, value in wanted[arm].items())
    assert [row.environment["jobs"] for row in found.rows] == ["2", "2"]
    assert all(row.environment["threads"] == "1" for row in found.rows)
    assert progress.told[:2] == [("begin", "softmax"), ("begin", "identity")]  # at once
    assert {("measured", "softmax"), ("measured", "identity")} <= set(progress.told)
    assert set(Store(apart.folder, "formers/apart").rows()) == {row.fingerprint for row in found.rows}


@pytest.mark.slow
def test_a_killed_worker_is_a_row_and_the_others_go_on(small: Study) -> None:
    study = replace(small, arms=(*small.arms, Arm("pool", {"mixer": "pool"})), budget=replace(small.budget, steps=400))

    def kill(label: str) -> None:
        if label == "softmax":
            progress.then = None
            os.kill(min(children()), signal.SIGKILL)

    progress = Listens(kill)
    results = run(study, progress, Processes(2))
    assert [row.status for row in results.rows] == ["failed", "finished", "finished"]
    assert "SIGKILL" in results.rows[0].cause
    assert not children()
    again = run(study)  # tried again, from the checkpoint that is left
    assert [row.status for row in again.rows] == ["finished"] * 3


def test_a_stop_reaches_every_worker(small: Study) -> None:
    study = replace(small, budget=replace(small.budget, **SLOW))
    begun = set[str]()

    def press(label: str) -> None:
        begun.add(label)
        if len(begun) == 2:
            progress.then = None
            signal.raise_signal(signal.SIGINT)

    progress = Listens(press)
    with pytest.raises(Stopped, match=r"0 of 2 .*'softmax' is kept at step \d+, 'identity' is kept at step \d+"):
        run(study, progress, Processes(2))
    assert len(list(study.folder.glob("checkpoints/*/checkpoint-*"))) == 2
    assert not children()


def test_threads_are_shared_out() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(6)
    try:
        assert [Processes(count).threads for count in (1, 2, 4, 9)] == [6, 3, 1, 1]
    finally:
        torch.set_num_threads(before)
