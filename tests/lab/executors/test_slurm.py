"""Arms as jobs of a Slurm cluster. Its queue is on paper here; `test_slurm_cluster.py` has processes and commands."""

from __future__ import annotations

import importlib.util
import io
import os
import shutil
import signal
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from typer.testing import CliRunner

from formers.cli.app import app
from formers.lab import Slurm, SlurmResources, Stopped, Store, Study, run, write_study
from formers.lab.executors import slurm
from formers.lab.executors.slurm_arm import ArmOnNode
from formers.lab.executors.slurm_files import ArmFiles, Inbox
from formers.lab.plan.jobs import plan_jobs
from formers.lab.store.write_error import WriteError
from formers.lab.train.job import Job
from formers.lab.train.progress import Bars, Lines, Silent

pytest.importorskip("submitit")


def models(study: Study) -> dict[str, dict[str, torch.Tensor]]:
    return {file.parent.name: load_file(file) for file in study.folder.glob("models/*/model.safetensors")}


class Listens(Silent):
    """Keeps what was told, and does something when an arm waits or takes a step."""

    def __init__(self, then: Any = None) -> None:
        self.told, self.then = list[tuple[str, str]](), then

    def wait(self, label: str, reason: str) -> None:
        self.told.append(("wait", f"{label}: {reason}"))
        if self.then:
            self.then()

    def begin(self, label: str, steps: int) -> None:
        self.told.append(("begin", label))

    def measured(self, label: str, done: int, values: dict[str, float]) -> None:
        self.told.append(("measured", label))

    def note(self, text: str) -> None:
        self.told.append(("note", text))

    def notes(self) -> str:
        return "\n".join(text for kind, text in self.told if kind == "note")


@dataclass
class PaperQueue:
    """A queue on paper: the test decides what becomes of the jobs in it. It outlives the process that waits."""

    folder: Path = Path()
    kind: str = "slurm"
    jobs: dict[str, ArmOnNode] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    adopted: list[str] = field(default_factory=list)
    description: str = "paper"

    def submit(self, arms: Sequence[ArmOnNode], name: str) -> list[str]:
        start = len(self.jobs)
        numbers = [f"7_{start + i}" for i in range(len(arms))]
        self.jobs |= dict(zip(numbers, arms, strict=True))
        self.states |= dict.fromkeys(numbers, "PENDING")
        return numbers

    def adopt(self, numbers: Iterable[str]) -> None:
        self.adopted += numbers

    def is_over(self, number: str) -> bool:
        return self.states[number] not in ("PENDING", "RUNNING")

    def state(self, number: str) -> str:
        return self.states[number]

    def log(self, number: str) -> Path:
        return self.folder / f"{number}_0_log.err"

    def train(self, number: str) -> None:
        """What the cluster does once there is room."""
        self.states[number] = "RUNNING"
        with pytest.MonkeyPatch.context() as node:
            node.setenv("SUBMITIT_EXECUTOR", "slurm")
            node.setenv("SLURM_ARRAY_JOB_ID", number.partition("_")[0])
            node.setenv("SLURM_ARRAY_TASK_ID", number.partition("_")[2])
            self.jobs[number]()
        self.states[number] = "COMPLETED"


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> PaperQueue:
    made = PaperQueue()

    def opened(folder: Path, kind: str, resources: SlurmResources) -> PaperQueue:
        made.folder = folder
        return made

    monkeypatch.setattr(slurm, "SlurmQueue", opened)
    monkeypatch.setattr(slurm, "check_installed", lambda kind: None)
    monkeypatch.setattr(slurm, "check_shared", lambda folder: None)
    monkeypatch.setattr(slurm, "_GRACE_SECONDS", {"slurm": 0.0})
    monkeypatch.setattr(slurm, "_SECONDS_BETWEEN_STATES", {"slurm": 0.0})
    monkeypatch.setattr(slurm, "_SECONDS_BETWEEN_CHECKS", 0.0)
    return made


def leave(study: Study, queue: PaperQueue, progress: Silent | None = None) -> str:
    """Start a study, press Ctrl-C once its jobs are in the queue, and return what was said."""
    progress = progress or Listens(lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(Stopped) as stopped:
        run(study, progress, Slurm())
    return str(stopped.value)


def test_ctrl_c_leaves_jobs_in_the_queue_and_the_next_start_collects_them(small: Study, queue: PaperQueue) -> None:
    first = Listens(lambda: (setattr(first, "then", None), signal.raise_signal(signal.SIGINT)))
    assert "0 of 2 runs are done. Go on with: formers ablate" in leave(small, queue, first)
    assert "submitted: 2 arms, as job 7; logs are in" in first.notes()
    assert "2 arms stay in the queue and go on (job 7); to cancel them: scancel 7" in first.notes()
    assert ("wait", "softmax: job 7_0, pending") in first.told
    queue.train("7_0")  # nobody waits for it
    second = Listens(lambda: queue.train("7_1"))
    found = run(small, second, Slurm())
    assert [*queue.jobs] == ["7_0", "7_1"]  # none was submitted twice
    assert queue.adopted == ["7_0", "7_1"]
    assert "found in the queue, from an earlier start: 2 arms, as job 7" in second.notes()
    expected = run(replace(small, folder=small.folder.with_name("here")))
    assert [row.metrics for row in found.rows] == [row.metrics for row in expected.rows]
    weights, wanted = models(small), models(replace(small, folder=small.folder.with_name("here")))
    assert all(weights[arm][name].equal(value) for arm in wanted for name, value in wanted[arm].items())
    assert [row.environment["cluster"] for row in found.rows] == ["paper", "paper"]
    assert ("begin", "identity") in second.told
    assert [path.name for path in (small.folder / "slurm").iterdir()] == []
    assert run(small, Listens(), Slurm()).rows == found.rows  # finished: nothing is submitted


class Strict(Listens):
    """Refuses a step of an arm that has not begun, or that was told to wait since."""

    def __init__(self, then: Any = None) -> None:
        super().__init__(then)
        self.running = set[str]()

    def wait(self, label: str, reason: str) -> None:
        self.running.discard(label)
        super().wait(label, reason)

    def begin(self, label: str, steps: int) -> None:
        self.running.add(label)
        super().begin(label, steps)

    def step(self, label: str, done: int) -> None:
        assert label in self.running

    def measured(self, label: str, done: int, values: dict[str, float]) -> None:
        assert label in self.running
        super().measured(label, done, values)


LISTENERS = {
    "lines": lambda: Lines(Console(file=io.StringIO())),
    "bars": lambda: Bars(Console(file=io.StringIO())),
    "strict": Strict,
}


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize("adopted", [True, False])
def test_arms_that_have_begun_unheard_are_collected(
    one_arm: Study, queue: PaperQueue, monkeypatch: pytest.MonkeyPatch, listener: str, adopted: bool
) -> None:
    """An earlier start was told that they run, or the message was lost."""
    if adopted:
        leave(one_arm, queue)
        files = queue.jobs["7_0"].files
        files.tell(("begin", ("softmax", 8)))
        files.tell(("step", ("softmax", 1)))
    tell = ArmFiles.tell
    monkeypatch.setattr(ArmFiles, "tell", lambda self, it: None if it[0] == "begin" else tell(self, it))

    def state(number: str) -> str:
        if queue.states[number] == "PENDING":
            queue.train(number)
        return "RUNNING"

    monkeypatch.setattr(queue, "state", state)
    progress = LISTENERS[listener]()
    assert [row.status for row in run(one_arm, progress, Slurm()).rows] == ["finished"]
    if isinstance(progress, Strict):
        assert ("begin", "softmax") in progress.told
        assert ("measured", "softmax") in progress.told


def test_an_arm_that_is_held_up_begins_anew(arm: ArmOnNode, queue: PaperQueue) -> None:
    waiting = slurm._WaitingArm(arm.job, "7_0", arm.files, slurm._inbox(arm.job, arm.files))
    progress = Strict()
    arm.files.tell(("begin", ("softmax", 8)))
    for step, state in enumerate(["RUNNING", "SUSPENDED", "RUNNING"]):
        arm.files.tell(("step", ("softmax", step)))
        queue.states["7_0"] = state
        queue.is_over = lambda number: False  # type: ignore[method-assign]
        assert waiting.row_so_far(queue, progress, look=True) is None  # type: ignore[arg-type]
    begin = ("begin", "softmax")
    assert progress.told == [begin, ("wait", "softmax: job 7_0, suspended"), begin]


def test_a_lost_job_is_a_failed_row_with_its_log_and_is_tried_again(small: Study, queue: PaperQueue) -> None:
    def lose() -> None:
        queue.log("7_0").write_text("slurmstepd: error\nsrun: error: node3: task 0: Killed\n\n")
        queue.states |= {"7_0": "NODE_FAIL", "7_1": "OUT_OF_MEMORY"}

    rows = run(small, Listens(lose), Slurm()).rows
    assert [row.status for row in rows] == ["failed", "out_of_memory"]
    assert (
        f"its job 7_0 ended without a result (node_fail: srun: error: node3: task 0: Killed); its log is "
        f"{small.folder.resolve()}/slurm/7_0_0_log.err; its last checkpoint is kept"
    ) in rows[0].cause
    assert "and wrote no log: does its node see" in rows[1].cause

    def again() -> None:
        for number in ("7_2", "7_3"):
            if queue.states[number] == "PENDING":
                queue.train(number)

    assert [row.status for row in run(small, Listens(again), Slurm()).rows] == ["finished", "finished"]


def test_a_job_that_ended_badly_while_nobody_waited_is_submitted_again(one_arm: Study, queue: PaperQueue) -> None:
    leave(one_arm, queue)
    queue.states["7_0"] = "CANCELLED"
    leave(one_arm, queue)
    assert [*queue.jobs] == ["7_0", "7_1"]


def test_a_full_disk_on_a_node_stops_the_study(one_arm: Study, queue: PaperQueue) -> None:
    (one_arm.folder / "checkpoints").write_text("mine")

    def train() -> None:
        with pytest.raises(WriteError):
            queue.train(max(queue.jobs))

    with pytest.raises(WriteError, match=r"cannot keep how far the training is in .*\nWhat was kept before"):
        run(one_arm, Listens(train), Slurm())
    assert Store(one_arm.folder, "formers/study").rows() == {}
    (one_arm.folder / "checkpoints").unlink()
    found = run(one_arm, Listens(lambda: queue.train(max(queue.jobs))), Slurm())
    assert [row.status for row in found.rows] == ["finished"]


@pytest.fixture
def arm(one_arm: Study) -> ArmOnNode:
    [job] = plan_jobs(one_arm)
    assert isinstance(job, Job)
    files = ArmFiles(one_arm.folder / "slurm", job.slug)
    files.prepare()
    files.name_job("7_0", job.fingerprint)
    return ArmOnNode(job, files, time="4h")


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("SUBMITIT_EXECUTOR", "slurm"), ("SLURM_ARRAY_JOB_ID", "7"), ("SLURM_ARRAY_TASK_ID", "0")):
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("node")
def test_a_job_that_its_ticket_does_not_name_trains_nothing(
    arm: ArmOnNode, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arm.files.name_job("8", arm.job.fingerprint)
    arm()
    assert capsys.readouterr().out == "another job trains this arm: 8; 7_0 ends\n"
    monkeypatch.setattr("formers.lab.executors.slurm_arm._TICKET_SECONDS", 0.0)
    arm.files.prepare()
    arm()
    assert "none was announced" in capsys.readouterr().out
    assert not arm.files.messages.exists()


class _Back(Exception):
    """What submitit's own handler ends a process with, here."""


@pytest.fixture
def at_a_step(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[int, signal.Signals]]:
    """Signals that arrive in a step: step → signal."""
    from formers.lab.train.trainer import SafeTrainer

    at: dict[int, signal.Signals] = {}
    original = SafeTrainer.training_step

    def step(self: SafeTrainer, *given: Any, **options: Any) -> Any:
        if number := at.pop(self.state.global_step, None):
            signal.raise_signal(number)
        return original(self, *given, **options)

    monkeypatch.setattr(SafeTrainer, "training_step", step)

    def requeue(number: int, frame: Any) -> None:
        raise _Back

    before = signal.signal(signal.SIGUSR2, requeue)
    yield at
    signal.signal(signal.SIGUSR2, before)


@pytest.mark.usefixtures("node")
def test_a_node_that_is_taken_back_leaves_a_checkpoint_and_the_next_goes_on(
    arm: ArmOnNode, at_a_step: dict[int, signal.Signals]
) -> None:
    at_a_step |= {3: signal.SIGUSR2}
    with pytest.raises(_Back):
        arm()
    assert arm.files.outcome("7_0") is None
    assert (arm.job.checkpoint_folder / "checkpoint-4").is_dir()
    assert arm.checkpoint().function == arm
    arm()
    row = arm.files.outcome("7_0")
    assert row is not None
    assert row.status == "finished"
    assert row.metrics == run(replace(arm.job.study, folder=arm.job.study.folder / "whole")).rows[0].metrics
    progress = Listens()
    Inbox(arm.files.messages, "softmax", 8).deliver(progress)
    assert [it for it in progress.told if it[0] == "begin"] == [("begin", "softmax")] * 2
    assert "going on from step 4" in progress.notes()


@pytest.mark.usefixtures("node")
def test_sigterm_saves_and_training_goes_on(arm: ArmOnNode, at_a_step: dict[int, signal.Signals]) -> None:
    at_a_step |= {2: signal.SIGTERM, 6: signal.SIGINT}
    with pytest.raises(SystemExit, match="stopped by Ctrl-C"):
        arm()
    kept = sorted(path.name for path in arm.job.checkpoint_folder.glob("checkpoint-*"))
    assert kept == ["checkpoint-6", "checkpoint-7"]
    assert arm.files.outcome("7_0") is None


@pytest.mark.usefixtures("node")
def test_a_time_that_runs_out_too_often_is_a_row(arm: ArmOnNode, at_a_step: dict[int, signal.Signals]) -> None:
    from submitit.core.utils import UncompletedJobError

    def refuse(number: int, frame: Any) -> None:
        raise UncompletedJobError("Job not requeued because: timed-out too many times.")

    signal.signal(signal.SIGUSR2, refuse)
    at_a_step |= {3: signal.SIGUSR2}
    arm()
    row = arm.files.outcome("7_0")
    assert row is not None
    assert (row.status, row.steps) == ("failed", 4)
    assert row.cause.startswith("its time, 4h, ran out too often (Job not requeued because: timed-out too many times.)")
    assert "its checkpoint of step 4 is kept" in row.cause


def test_submitit_itself_trains_arms_as_here(one_arm: Study) -> None:
    found = run(one_arm, progress := Listens(), Slurm(queue="debug"))
    expected = run(replace(one_arm, folder=one_arm.folder.with_name("here")))
    assert [row.metrics for row in found.rows] == [row.metrics for row in expected.rows]
    assert found.rows[0].environment["cluster"].startswith("debug, submitit 1.")
    assert {("begin", "softmax"), ("measured", "softmax")} <= {*progress.told}


def ablate(study: Study, *options: str) -> str:
    """What `formers ablate` says before it gives up."""
    write_study(study, study.folder / "study.yaml")
    done = CliRunner().invoke(app, ["ablate", str(study.folder / "study.yaml"), *options])
    assert done.exit_code == 2, done.output
    return done.output


def test_without_submitit_or_slurm_the_way_out_is_named(one_arm: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.path.dirname(shutil.which("git") or "") if not shutil.which("sbatch") else "")
    said = ablate(one_arm, "--slurm", "partition=gpu")
    assert said.startswith("formers: --slurm needs the commands of Slurm, and there is no sbatch on this machine")
    assert "login node" in said
    assert "--slurm off" in said
    assert "two ways to train arms side by side" in ablate(one_arm, "--slurm", "auto", "--jobs", "2")
    assert "two ways to train arms side by side" in ablate(replace(one_arm, slurm=SlurmResources()), "--ray", "local")
    assert "did you mean 'gpus'" in ablate(one_arm, "--slurm", "gpu=1")
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "formers.lab.executors.slurm_queue.find_spec", lambda name: None if name == "submitit" else found(name)
    )
    assert "pip install 'formers[lab,slurm]'" in ablate(one_arm, "--slurm", "auto")


def test_a_folder_of_one_machine_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(slurm, "_OWN_OF_A_MACHINE", (str(tmp_path),))
    with pytest.raises(ValueError, match=rf"{tmp_path}/study lies in {tmp_path}, which each machine has for itself"):
        slurm.check_shared(tmp_path / "study" / "slurm")
    slurm.check_shared(tmp_path.parent / "slurm")


def test_files_that_are_damaged_or_of_another_job_are_no_outcome(arm: ArmOnNode) -> None:
    files = arm.files
    row = arm.job.empty_row()
    files.write_row("6", row)
    assert files.outcome("7_0") is None
    files.write_row("7_0", row)
    assert files.outcome("7_0") == row
    assert files.named_job(arm.job.fingerprint) == "7_0"
    assert files.named_job("of another study") == ""
    (files.folder / f"{files.slug}.ticket.json").write_text('{"job": "9"')
    assert files.named_job() == ""
    (files.folder / f"{files.slug}.outcome.json").write_text('{"job": "7_0"}')
    with pytest.raises(ValueError, match="do all machines have the same formers"):
        files.outcome("7_0")
    files.messages.write_text('["end", [1]]\n["note", ["half')
    Inbox(files.messages, "softmax", 8).deliver(progress := Listens())
    assert progress.told == []
