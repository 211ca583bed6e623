"""Arms on a Ray cluster: a local one, with two cores."""

from __future__ import annotations

import importlib.util
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from formers.lab import Cluster, Stopped, Store, Study, run
from formers.lab.executors.ray import _Postman
from formers.lab.executors.ray_connection import connect
from formers.lab.store.write_error import WriteError
from formers.lab.train.progress import Silent
from formers.lab.train.stop import catch_signals


class Listens(Silent):
    """Notes what it hears, and presses Ctrl-C when told to."""

    def __init__(self, stop: bool = False) -> None:
        self.began, self.stepped, self.stop = list[str](), set[str](), stop

    def begin(self, label: str, steps: int) -> None:
        self.began.append(label)

    def step(self, label: str, done: int) -> None:
        self.stepped.add(label)
        if self.stop:
            self.stop = False
            signal.raise_signal(signal.SIGINT)


def models(study: Study) -> dict[str, dict[str, torch.Tensor]]:
    return {file.parent.name: load_file(file) for file in study.folder.glob("models/*/model.safetensors")}


@pytest.fixture
def two_cores() -> object:
    ray = pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield ray
    ray.shutdown()


@pytest.mark.slow
def test_arms_on_a_cluster_survive_a_killed_worker_and_a_stop(small: Study, two_cores: object) -> None:
    small = replace(small, budget=replace(small.budget, steps=200))
    there, progress = replace(small, folder=small.folder.with_name("there")), Listens(stop=True)
    with pytest.raises(Stopped, match=r"0 of 2 .*is kept at step"):
        run(there, progress, Cluster("auto"))
    progress = Kills(there.folder)
    found, expected = run(there, progress, Cluster("auto")), run(small)
    assert progress.killed  # and yet:
    assert [row.status for row in found.rows] == ["finished", "finished"]
    assert [row.metrics for row in found.rows] == [row.metrics for row in expected.rows]
    weights, wanted = models(there), models(small)
    assert weights.keys() == wanted.keys()
    assert all(weights[arm][name].equal(value) for arm in wanted for name, value in wanted[arm].items())
    assert progress.began == ["softmax", "identity"]
    assert all(row.environment["cluster"].startswith("ray ") for row in found.rows)
    assert all(row.environment["threads"] == "1" for row in found.rows)


@pytest.mark.slow
def test_a_full_disk_on_a_worker_stops_the_study(small: Study, two_cores: object) -> None:
    """Another process writes there, so it is a real failure: a file is in the place of the folder of checkpoints."""
    (small.folder / "checkpoints").write_text("mine")
    with pytest.raises(
        WriteError, match=r"cannot keep how far the training is in .*\nWhat was kept before is still there"
    ):
        run(small, executor=Cluster("auto"))
    assert Store(small.folder, "formers/study").rows() == {}
    (small.folder / "checkpoints").unlink()
    assert [row.status for row in run(small, executor=Cluster("auto")).rows] == ["finished", "finished"]


class LosesTheMailbox(Listens):
    """Kills the process of the mailbox once, or the mailbox for good, when an arm takes a step."""

    def __init__(self, ray: object, for_good: bool) -> None:
        super().__init__()
        self.ray, self.for_good, self.killed, self.notes = ray, for_good, 0, list[str]()
        self.postmen = list[object]()

    def step(self, label: str, done: int) -> None:
        super().step(label, done)
        if not self.killed:
            self.killed = 1
            if self.for_good:
                self.ray.kill(self.postmen[-1].actor)  # type: ignore[attr-defined]
            else:
                os.kill(worker(b"ray::_Mailbox"), signal.SIGKILL)

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.mark.slow
def test_a_lost_mailbox_costs_no_arm(small: Study, two_cores: object, monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(small, budget=replace(small.budget, steps=200))
    for_good, once = LosesTheMailbox(two_cores, for_good=True), LosesTheMailbox(two_cores, for_good=False)
    make = _Postman.__init__

    def record(self: _Postman, ray: object) -> None:
        make(self, ray)
        for_good.postmen.append(self)

    monkeypatch.setattr(_Postman, "__init__", record)
    with pytest.raises(Stopped, match=r"0 of 2 .*Go on with: "):
        run(small, for_good, Cluster("auto"))
    assert any("lost the progress of all arms" in note for note in for_good.notes)
    results = run(small, once, Cluster("auto"))
    assert once.killed
    assert [row.status for row in results.rows] == ["finished", "finished"], [row.cause for row in results.rows]


@pytest.mark.slow
def test_a_cluster_of_its_own_leaves_signals_as_they_are() -> None:
    pytest.importorskip("ray")
    with catch_signals() as stop:
        before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
        with connect("local"):
            assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
            signal.raise_signal(signal.SIGTERM)
    assert stop.requested


class Kills(Listens):
    """Kills the process of the first arm that takes a step, as a machine that goes away does."""

    def __init__(self, place: Path) -> None:
        super().__init__()
        self.killed = 0

    def step(self, label: str, done: int) -> None:
        if not self.killed:
            self.killed = worker()
            os.kill(self.killed, signal.SIGKILL)


def worker(name: bytes = b"ray::_train_on_cluster") -> int:
    """The process of a Ray task, or actor, of this test."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if name in (folder / "cmdline").read_bytes() and descends(int(folder.name)):
                return int(folder.name)
        except OSError:
            continue  # it ended meanwhile
    raise AssertionError("no task is running")


def descends(pid: int) -> bool:
    """Whether a process was started by this one."""
    while pid > 1:
        if pid == os.getpid():
            return True
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return False


def test_without_ray_the_command_to_install_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr("formers.lab.executors.ray.find_spec", lambda name: None if name == "ray" else found(name))
    with pytest.raises(ValueError, match=r"pip install 'formers\[lab,cluster\]'"):
        Cluster("local")
