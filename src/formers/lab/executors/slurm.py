"""Jobs of a Slurm cluster: each arm with each seed waits in its queue, trains on a node, and leaves a row.

The process that started the study waits for them, shows how far they are, and alone writes the store. It may end at any
time: the jobs stay in the queue, and the next start of the study finds them there.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from formers.lab.executors.slurm_arm import ArmOnNode
from formers.lab.executors.slurm_files import ArmFiles, Inbox
from formers.lab.executors.slurm_queue import QueueKind, SlurmQueue, check_installed
from formers.lab.store.records import Row
from formers.lab.store.write_error import WriteError
from formers.lab.study.slurm_resources import SlurmResources
from formers.lab.train.job import Job
from formers.lab.train.other_lengths import row_of_lost_process
from formers.lab.train.progress import Progress
from formers.lab.train.stop import Stop

_FOLDER = "slurm"
_SECONDS_BETWEEN_CHECKS = 0.5  # of the files of arms, and of whether a stop was requested
_SECONDS_BETWEEN_STATES = {"slurm": 5.0, "local": 0.5, "debug": 0.0}
_GRACE_SECONDS = {"slurm": 20.0, "local": 1.0, "debug": 0.0}
"""Seconds in which the row of a job that has ended arrives: disks that machines share are slow to tell."""
_OWN_OF_A_MACHINE = (tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm")
_LEAVING = b"\nleaving the jobs in the queue\n"
_LOG_END = 4096
"""Bytes at the end of a log in which its last line is looked for."""


class Slurm:
    """Trains jobs on a Slurm cluster, each with the resources that are given.

    `queue` is `slurm`; `local` and `debug` are for trying without a cluster, as processes of this machine that all run
    at once, and in this process.

    Raises:
        ValueError: where submitit, or Slurm, is not installed.
    """

    def __init__(self, resources: SlurmResources | None = None, queue: QueueKind = "slurm") -> None:
        check_installed(queue)
        self.resources, self.queue = resources or SlurmResources(), queue

    def run_jobs(self, jobs: Sequence[Job], progress: Progress, stop: Stop) -> Generator[tuple[int, Row], None, None]:
        """Yield the index of each job with its row, as they end. On a stop, leave what has not ended in the queue.

        Jobs that an earlier start has left in the queue are not submitted again.

        Raises:
            ValueError: where Slurm refuses the jobs, or the study's folder is of this machine alone.
            WriteError: where one of them could not write.
        """
        if not jobs:
            return
        folder = jobs[0].study.folder.resolve() / _FOLDER
        if self.queue == "slurm":
            check_shared(folder)
        queue = SlurmQueue(folder, self.queue, self.resources)
        stop.notice = _LEAVING
        waiting = self._enter(queue, jobs, progress)
        checked = -_SECONDS_BETWEEN_STATES[self.queue]
        while waiting:
            look = time.monotonic() - checked >= _SECONDS_BETWEEN_STATES[self.queue]
            checked = time.monotonic() if look else checked
            for index, arm in [*waiting.items()]:
                row = arm.row_so_far(queue, progress, look)
                if row is not None:
                    del waiting[index]
                    yield index, row
                    arm.files.forget()
            if stop.requested:
                break
            if waiting:
                time.sleep(_SECONDS_BETWEEN_CHECKS if self.queue != "debug" else 0.0)
        if waiting:
            progress.note(_left_behind([arm.number for arm in waiting.values()], self.queue))

    def _enter(self, queue: SlurmQueue, jobs: Sequence[Job], progress: Progress) -> dict[int, _WaitingArm]:
        """Return index → arm in the queue, after submitting those that are not there yet."""
        files = [ArmFiles(queue.folder, job.slug) for job in jobs]
        named = {i: number for i, job in enumerate(jobs) if (number := files[i].named_job(job.fingerprint))}
        queue.adopt(named.values())
        waiting = {
            i: _WaitingArm(jobs[i], number, files[i], _inbox(jobs[i], files[i], skip_old=True))
            for i, number in named.items()
            if _is_worth_waiting(files[i], number, queue)
        }
        if waiting:
            progress.note(f"found in the queue, from an earlier start: {_counted([*waiting.values()])}")
        fresh = [index for index in range(len(jobs)) if index not in waiting]
        if fresh:
            entered = self._submit(queue, [jobs[index] for index in fresh])
            waiting |= dict(zip(fresh, entered, strict=True))
            progress.note(
                f"submitted: {_counted(entered)}; logs are in {queue.folder}. Ctrl-C leaves them in the queue, and the "
                "same command collects them"
            )
        return waiting

    def _submit(self, queue: SlurmQueue, jobs: Sequence[Job]) -> list[_WaitingArm]:
        """Put jobs into the queue, and write their tickets."""
        arms = []
        for job in jobs:
            sent = replace(
                job,
                study=replace(job.study, folder=job.study.folder.resolve()),
                place={"cluster": queue.description},
            )
            files = ArmFiles(queue.folder, job.slug)
            files.prepare()
            arms.append(ArmOnNode(sent, files, self.resources.cores, self.resources.time))
        numbers = queue.submit(arms, f"formers-{jobs[0].study.folder.resolve().name}")
        for arm, number in zip(arms, numbers, strict=True):
            arm.files.name_job(number, arm.job.fingerprint)
        return [
            _WaitingArm(arm.job, number, arm.files, _inbox(arm.job, arm.files))
            for arm, number in zip(arms, numbers, strict=True)
        ]


@dataclass
class _WaitingArm:
    """An arm in the queue, or on a node.

    Attributes:
        number: of its job.
        ended: when it was first seen to have ended without a row, in seconds.
    """

    job: Job
    number: str
    files: ArmFiles
    inbox: Inbox
    ended: float | None = None
    told: str = field(default="", init=False)

    def row_so_far(self, queue: SlurmQueue, progress: Progress, look: bool) -> Row | None:
        """Return the arm's row, where there is one or its job is lost; tell how far it is. With `look`, ask the queue.

        Raises:
            WriteError: where the job could not write.
        """
        is_over = look and queue.is_over(self.number)  # before its files are read, which may arrive meanwhile
        self.inbox.deliver(progress)
        row = self.files.outcome(self.number)
        if row is not None:
            return row
        if is_over:
            self.ended = self.ended or time.monotonic()
            if time.monotonic() - self.ended >= _GRACE_SECONDS[queue.kind]:
                return self._lost_row(queue)
        elif look:
            self._tell_state(queue, progress)
        return None

    def _tell_state(self, queue: SlurmQueue, progress: Progress) -> None:
        """Tell where the arm waits, when that is news."""
        state = queue.state(self.number)
        if state == "RUNNING" and self.inbox.has_begun:
            self.told = ""
        elif state not in (self.told, "COMPLETING"):
            self.told, self.inbox.has_begun = state, False
            progress.wait(self.job.label, f"job {self.number}, {state.lower()}")

    def _lost_row(self, queue: SlurmQueue) -> Row:
        """Return the row of an arm whose job has ended without one, with its log."""
        state, log = queue.state(self.number), queue.log(self.number)
        what = f"its job {self.number} ended without a result ({state.lower()}"
        if last := _last_line(log):
            cause = f"{what}: {last}); its log is {log}"
        elif log.exists():
            cause = f"{what}); its log, {log}, is empty"
        else:
            cause = f"{what}) and wrote no log: does its node see {queue.folder}, and this Python?"
        row = row_of_lost_process(self.job, cause)
        ran_out = state.startswith("OUT_OF_ME") and row.status == "failed"
        return replace(row, status="out_of_memory") if ran_out else row


def _inbox(job: Job, files: ArmFiles, skip_old: bool = False) -> Inbox:
    return Inbox(files.messages, job.label, job.budget.steps, skip_old)


def _is_worth_waiting(files: ArmFiles, number: str, queue: SlurmQueue) -> bool:
    """Return whether a job of an earlier start has left a row, or still may."""
    try:
        return files.outcome(number) is not None or not queue.is_over(number)
    except (WriteError, ValueError):  # it could not write; now there may be room
        return False


def check_shared(folder: Path) -> None:
    """Raise ValueError for a folder that other machines certainly do not see; Slurm would fail without a word."""
    for place in _OWN_OF_A_MACHINE:
        if folder.resolve().is_relative_to(Path(place).resolve()):
            raise ValueError(
                f"{folder.parent} lies in {place}, which each machine has for itself; jobs of a cluster need a folder "
                "that all nodes see: --folder"
            )


def _counted(arms: Sequence[_WaitingArm]) -> str:
    """Return the arms and their jobs in words, as in `6 arms, as job 1234`."""
    return f"{len(arms)} {'arm' if len(arms) == 1 else 'arms'}, as {_named([arm.number for arm in arms])}"


def _named(numbers: Sequence[str]) -> str:
    """Return the numbers of jobs, one for all of an array."""
    arrays = list(dict.fromkeys(number.partition("_")[0] for number in numbers))
    return f"{'job' if len(arrays) == 1 else 'jobs'} {', '.join(arrays)}"


def _left_behind(numbers: Sequence[str], kind: QueueKind) -> str:
    """Return what becomes of jobs that nobody waits for any more."""
    command = "scancel" if kind == "slurm" else "kill"
    words = [number.partition("_")[0] for number in numbers]
    cancel = f"; to cancel them: {command} {' '.join(dict.fromkeys(words))}" if kind != "debug" else ""
    return f"{len(numbers)} arms stay in the queue and go on ({_named(numbers)}){cancel}"


def _last_line(log: Path) -> str:
    """Return the last line of a log that says something; empty where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _LOG_END))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
