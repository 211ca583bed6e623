"""Arms as jobs of a Slurm cluster: submitit's own files and processes, and commands that stand for Slurm's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from formers.lab import Slurm, SlurmResources, Stopped, Study, run
from formers.lab.executors import slurm
from formers.lab.train.progress import Silent

pytest.importorskip("submitit")
FAKE = Path(__file__).with_name("fake_slurm.py")


class Listens(Silent):
    """Keeps what was told, and does something at each."""

    def __init__(self, then: Callable[[str, str], None] = lambda kind, text: None) -> None:
        self.told, self.then = list[tuple[str, str]](), then

    def _tell(self, kind: str, text: str) -> None:
        self.told.append((kind, text))
        self.then(kind, text)

    def wait(self, label: str, reason: str) -> None:
        self._tell("wait", f"{label}: {reason}")

    def begin(self, label: str, steps: int) -> None:
        self._tell("begin", label)

    def step(self, label: str, done: int) -> None:
        self._tell("step", label)

    def note(self, text: str) -> None:
        self._tell("note", text)


def ctrl_c(at: str) -> Callable[[str, str], None]:
    """Press Ctrl-C once, at the first of what is told."""
    pressed = set[str]()

    def press(kind: str, text: str) -> None:
        if kind == at and not pressed:
            pressed.add(kind)
            signal.raise_signal(signal.SIGINT)

    return press


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Slurm's commands, and the folder that knows their jobs; what still runs at the end is killed."""
    commands, home = tmp_path / "bin", tmp_path / "cluster"
    commands.mkdir(), home.mkdir()
    monkeypatch.setenv("FAKE_SLURM", str(home))
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.setattr(slurm, "_OWN_OF_A_MACHINE", ())
    monkeypatch.setattr("formers.lab.executors.slurm_queue._SECONDS_BETWEEN_QUESTIONS", 0.5)
    monkeypatch.setattr(slurm, "_GRACE_SECONDS", {"slurm": 2.0})
    code = f"import sys; sys.path.insert(0, {str(FAKE.parent)!r}); import fake_slurm; from pathlib import Path; "
    subprocess.run([sys.executable, "-c", f"{code}fake_slurm.install(Path({str(commands)!r}))"], check=True)
    yield home
    for file in home.glob("*.pid"):
        with suppress(ProcessLookupError):
            os.killpg(int(file.read_text()), signal.SIGKILL)


def task_of(home: Path, name: str) -> int:
    """The process of a job's task."""
    group = int((home / f"{name}.pid").read_text())
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes()
            if b"submitit.core._submit" in words and os.getpgid(int(folder.name)) == group and b"bash" not in words[:9]:
                return int(folder.name)
        except (OSError, ProcessLookupError):
            continue
    raise AssertionError(f"job {name} has no task")


@pytest.mark.slow
def test_arms_survive_a_stop_a_lost_node_and_a_time_that_runs_out(small: Study, cluster: Path) -> None:
    """The whole way: an array, Ctrl-C, a second start, a node that is taken back, and a job that is killed."""
    small = replace(small, budget=replace(small.budget, steps=400), slurm=SlurmResources(time="4h", memory="2G"))
    (cluster / "hold").touch()
    left = Listens(ctrl_c("wait"))
    with pytest.raises(Stopped, match="0 of 2"):
        run(small, left)
    script = (cluster / "10.sh").read_text()
    assert all(f"#SBATCH --{it}\n" in script for it in ("array=0-1%2", "mem=2G", "time=240", "signal=USR2@120"))
    assert "export OMP_NUM_THREADS=1" in script
    (cluster / "hold").unlink()
    done = set[str]()

    def trouble(kind: str, text: str) -> None:
        if kind == "step" and text not in done:
            done.add(text)
            name = {"softmax": "10_0", "identity": "10_1"}[text]
            os.kill(task_of(cluster, name), signal.SIGUSR2 if text == "softmax" else signal.SIGKILL)

    rows = run(small, heard := Listens(trouble)).rows
    assert len(list(cluster.glob("*.sh"))) == 1  # nothing was submitted twice
    assert done == {"softmax", "identity"}
    assert [row.status for row in rows] == ["finished", "failed"], [row.cause for row in rows]
    assert "its job 10_1 ended without a result (failed" in rows[1].cause
    assert "10_1_0_log.err" in rows[1].cause
    assert any("going on from step" in text for kind, text in heard.told if kind == "note")
    assert any(text.startswith("softmax: job 10_0, ") for kind, text in heard.told if kind == "wait")
    again = run(small, Listens()).rows
    assert [row.status for row in again] == ["finished", "finished"]
    assert len(list(cluster.glob("*.sh"))) == 2
    expected = run(replace(small, slurm=None, folder=small.folder.with_name("here"))).rows
    assert [row.metrics for row in again] == [row.metrics for row in expected]


@pytest.mark.slow
def test_a_refusal_of_slurm_and_a_cancelled_job(one_arm: Study, cluster: Path) -> None:
    with pytest.raises(ValueError, match=r"Slurm refuses the jobs: sbatch: error: invalid partition .*'partition=now"):
        run(replace(one_arm, slurm=SlurmResources(partition="nowhere")))
    slow = replace(one_arm, budget=replace(one_arm.budget, steps=3000))

    def cancel(kind: str, text: str) -> None:
        if kind == "begin":
            subprocess.run(["scancel", "10"], check=True)

    [row] = run(replace(slow, slurm=SlurmResources()), Listens(cancel)).rows
    assert row.status == "failed"
    assert "its job 10 ended without a result (cancelled" in row.cause


@pytest.mark.slow
def test_an_orphan_of_a_killed_start_trains_nothing(one_arm: Study, cluster: Path) -> None:
    """A start dies between submitting jobs and writing their tickets: the next one submits anew."""
    (cluster / "hold").touch()
    left = Listens(ctrl_c("wait"))
    with pytest.raises(Stopped):
        run(one_arm, left, Slurm())
    [ticket] = (one_arm.folder / "slurm").glob("*.ticket.json")
    ticket.unlink()
    left = Listens(ctrl_c("wait"))
    with pytest.raises(Stopped):
        run(one_arm, left, Slurm())
    (cluster / "hold").unlink()
    [row] = run(one_arm, Listens(), Slurm()).rows
    assert row.status == "finished"
    end = time.monotonic() + 120
    while (cluster / "10.state").read_text() != "COMPLETED" and time.monotonic() < end:
        time.sleep(0.2)
    assert "another job trains this arm" in (one_arm.folder / "slurm" / "10_0_log.out").read_text()


@pytest.mark.slow
def test_submitits_own_processes(one_arm: Study) -> None:
    """Its local queue, whose jobs outlive a start, too."""
    small = replace(one_arm, budget=replace(one_arm.budget, steps=400))
    left = Listens(ctrl_c("step"))
    with pytest.raises(Stopped):
        run(small, left, Slurm(queue="local"))
    [row] = run(small, heard := Listens(), Slurm(queue="local")).rows
    assert row.status == "finished"
    assert any("found in the queue" in text for kind, text in heard.told if kind == "note")
    assert row.metrics == run(replace(small, folder=small.folder.with_name("here"))).rows[0].metrics
