"""Jobs on a cluster, through Ray: each arm is a task with the cores or the GPU it declares; Ray finds it a machine.

The folder of the study has to be one that every machine sees: an arm whose machine is lost starts again elsewhere, from
its last checkpoint. Rows come back to this process, and only it writes the store.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from formers.lab.executors.ray_connection import connect
from formers.lab.executors.remote_progress import Message, RemoteProgress, deliver
from formers.lab.store.records import Row
from formers.lab.store.write_error import WriteError, one_line
from formers.lab.train.job import Job
from formers.lab.train.other_lengths import row_of_lost_process
from formers.lab.train.progress import Progress
from formers.lab.train.stop import Stop
from formers.machine.environment import installed_version
from formers.part.error_line import one_line_of

_SECONDS_BETWEEN_CHECKS = 0.25  # of the mailbox, and of whether a stop was requested
_RETRIES = 3
_TIMEOUT, _LONG_TIMEOUT = 10.0, 120.0
"""Seconds that this process waits for the mailbox, and that an arm does, before it stops with a checkpoint."""


class Cluster:
    """Trains jobs on the Ray cluster at `address`; `local` starts one on this machine, for as long as the study runs.

    Each arm is given `cores` cores, and a GPU where the cluster has any. An arm whose machine or process is lost is
    tried again up to three times.

    Raises:
        ValueError: where Ray is not installed, or for less than one core.
    """

    def __init__(self, address: str, cores: int = 1) -> None:
        if find_spec("ray") is None:
            raise ValueError("--ray needs Ray, which is not installed: pip install 'formers[lab,cluster]'")
        if cores < 1:
            raise ValueError(f"--cores {cores}: an arm needs at least one")
        self.address, self.cores = address, cores

    def run_jobs(self, jobs: Sequence[Job], progress: Progress, stop: Stop) -> Generator[tuple[int, Row], None, None]:
        """Yield the index of each job with its row, as they end. Raise WriteError where one of them could not write."""
        with connect(self.address) as ray:
            mailbox = _Postman(ray)
            needs = {"num_cpus": self.cores, "num_gpus": int("GPU" in ray.cluster_resources()), "max_retries": _RETRIES}
            task = ray.remote(**needs)(_train_on_cluster)
            given = (mailbox.actor, self.cores)
            sent = [_as_sent(job, {"cluster": f"ray {installed_version('ray')}"}) for job in jobs]
            running = {task.remote(job, *given): i for i, job in enumerate(sent)}
            for job in jobs:
                progress.begin(job.label, job.budget.steps)
            try:
                while running:
                    ready, _ = ray.wait([*running], timeout=_SECONDS_BETWEEN_CHECKS)
                    stop.request_if(mailbox.deliver(progress, stop.requested))
                    for reference in ready:
                        i = running.pop(reference)
                        row = _row_of(ray, reference, sent[i])
                        if row is not None:
                            stop.request_if(row.status == "stopped")
                            yield i, row
            finally:
                for reference in running:
                    ray.cancel(reference, force=True)


class _Postman:
    """Brings the messages of a mailbox to this process.

    The mailbox is started again where its process or machine is lost. Where it is lost for good, arms cannot be told
    to stop any more: they find out themselves, and stop with a checkpoint.
    """

    def __init__(self, ray: Any) -> None:
        self._ray, self._is_lost = ray, False
        self.actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Mailbox).remote()

    def deliver(self, progress: Progress, stop_requested: bool) -> bool:
        """Tell a progress what arrived, hand on whether a stop is requested, and return whether it has to be."""
        if not self._is_lost:
            try:
                for message in self._ray.get(self.actor.read.remote(stop_requested), timeout=_TIMEOUT):
                    deliver(message, progress)
            except self._ray.exceptions.GetTimeoutError:
                pass  # it is being started again
            except self._ray.exceptions.RayActorError as error:
                self._is_lost = True
                progress.note(f"the cluster lost the progress of all arms ({one_line(error)}); they stop")
        return self._is_lost


class _Mailbox:
    """A Ray actor that takes messages from arms, wherever they run, and tells them whether to stop."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.stop_requested = False

    def write(self, message: Message) -> bool:
        """Add a message. Return whether to stop."""
        self.messages.append(message)
        return self.stop_requested

    def read(self, stop_requested: bool) -> list[Message]:
        """Return the messages since the last time, and keep for the arms whether to stop."""
        self.stop_requested = stop_requested
        messages, self.messages = self.messages, []
        return messages

    def is_stop_requested(self) -> bool:
        """Return whether to stop."""
        return self.stop_requested


def _train_on_cluster(job: Job, mailbox: Any, cores: int) -> Row | None:
    """Train a job from its last checkpoint, as a Ray task. Return None where a stop was requested before it began."""
    import ray
    import torch

    from formers.lab.train.training import train_job
    from formers.machine.quiet_libraries import quiet_libraries

    quiet_libraries()
    torch.set_num_threads(cores)
    stop = Stop()
    lost = (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError)
    try:
        if ray.get(mailbox.is_stop_requested.remote(), timeout=_LONG_TIMEOUT):
            return None
    except lost:
        return None

    def send(message: Message) -> None:
        try:
            stop.request_if(ray.get(mailbox.write.remote(message), timeout=_LONG_TIMEOUT))
        except lost:  # for good: nobody listens, and nobody could ask for a stop
            stop.request_if(True)

    return train_job(job, RemoteProgress(send), stop)


def _row_of(ray: Any, reference: Any, job: Job) -> Row | None:
    """Return the row of a task that has ended; one with the cause where the task was lost for good.

    Raises:
        WriteError: where the task did: a full disk is no fact about the arm.
    """
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        if isinstance(cause := getattr(error, "cause", None), WriteError):
            raise WriteError(str(cause)) from error
        return row_of_lost_process(job, f"lost by the cluster, {_RETRIES + 1} times: {one_line_of(error)}")


def _as_sent(job: Job, place: Mapping[str, str]) -> Job:
    """Return the job with a folder that means the same in every process, and with the place where it is trained."""
    return replace(job, study=replace(job.study, folder=job.study.folder.resolve()), place=place)
