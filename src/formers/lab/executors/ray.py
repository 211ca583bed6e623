"""Jobs on a cluster, through Ray: each arm is a task with the cores or the GPU it declares; Ray finds it a machine.

The folder of the study has to be one that every machine sees: an arm whose machine is lost starts again elsewhere, from its
last checkpoint. Rows come back to this process, and only it writes the store.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from formers.lab.executors.ray_address import START, check_reach
from formers.lab.executors.remote_progress import Message, Sender, tell
from formers.lab.plan.job import Job
from formers.lab.store.records import Row
from formers.lab.store.write_error import WriteError, reason
from formers.lab.train.progress import Progress
from formers.lab.train.stop import Stop
from formers.machine.environment import environment, installed

_TICK = 0.25  # seconds between two looks at what the arms have to say
_RETRIES = 3
_TOKEN = (
    "A cluster that asks for a token needs RAY_AUTH_MODE=token in the environment, and its token in ~/.ray/auth_token or in "
    "RAY_AUTH_TOKEN"
)


class Cluster:
    """Trains jobs on the Ray cluster at `address`; `local` starts one on this machine, for as long as the study runs.

    Each arm is given `cores` cores, and a GPU where the cluster has any. An arm whose machine or process is lost is tried
    again up to three times.
    """

    def __init__(self, address: str, cores: int = 1) -> None:
        if find_spec("ray") is None:
            raise ValueError("--ray needs Ray, which is not installed: pip install 'formers[lab,cluster]'")
        if cores < 1:
            raise ValueError(f"--cores {cores}: an arm needs at least one")
        self.address, self.cores = address, cores

    def rows(self, jobs: Sequence[Job], progress: Progress, stop: Stop) -> Generator[tuple[int, Row], None, None]:
        with _connected(self.address) as ray:
            board = ray.remote(num_cpus=0)(_Board).remote()
            needs = {"num_cpus": self.cores, "num_gpus": int("GPU" in ray.cluster_resources()), "max_retries": _RETRIES}
            task = ray.remote(**needs)(_work)
            running = {task.remote(_shared(job), board, self.cores): i for i, job in enumerate(jobs)}
            for job in jobs:
                progress.begin(job.label, job.budget.steps)
            try:
                while running:
                    ready, _ = ray.wait([*running], timeout=_TICK)
                    for message in ray.get(board.read.remote(stop.requested)):
                        tell(progress, message)
                    for reference in ready:
                        i = running.pop(reference)
                        row = _outcome(ray, reference, jobs[i])
                        if row is not None:
                            stop.requested |= row.status == "stopped"
                            yield i, replace(row, environment={**row.environment, "cluster": f"ray {installed('ray')}"})
            finally:
                for reference in running:
                    ray.cancel(reference, force=True)


class _Board:
    """Where arms, wherever they run, leave what they have to say, and see whether they are to stop. A Ray actor."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.stopping = False

    def write(self, message: Message) -> bool:
        """Leaves a message. Returns whether to stop."""
        self.messages.append(message)
        return self.stopping

    def read(self, stopping: bool) -> list[Message]:
        """Takes the messages since the last time, and leaves word whether to stop."""
        self.stopping = stopping
        taken, self.messages = self.messages, []
        return taken

    def asked(self) -> bool:
        """Whether to stop."""
        return self.stopping


def _work(job: Job, board: Any, cores: int) -> Row | None:
    """What a Ray task does: trains a job from its last checkpoint. None where a stop came before it began."""
    import ray
    import torch

    from formers.lab.store.quiet_libraries import quiet
    from formers.lab.train.training import train

    quiet()
    torch.set_num_threads(cores)
    stop = Stop()
    if ray.get(board.asked.remote()):
        return None

    def send(message: Message) -> None:
        stop.requested |= ray.get(board.write.remote(message))

    return train(job, Sender(send), stop)


def _outcome(ray: Any, reference: Any, job: Job) -> Row | None:
    """The row of a task that has ended; one with the cause where the task was lost for good.

    Raises `WriteError` where the task did: a full disk says nothing about the arm.
    """
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        if isinstance(cause := getattr(error, "cause", None), WriteError):
            raise WriteError(str(cause)) from error
        first = str(error).strip().splitlines()[0]
        cause = (
            f"lost by the cluster, {_RETRIES + 1} times: {type(error).__name__}: {first}; its last checkpoint is kept"
        )
        return replace(job.row(), status="failed", cause=cause, environment=environment())


def _shared(job: Job) -> Job:
    """The job with a folder that means the same in every process."""
    return replace(job, study=replace(job.study, folder=job.study.place.resolve()))


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Ray, connected to a cluster while the block runs; one that was connected before stays so.

    Raises `ValueError` where there is no cluster.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # or it warns of a default that will change
    import ray

    if ray.is_initialized():
        yield ray
        return
    check_reach(address)
    local = {"include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False, **local)
    except ConnectionError as error:
        raise ValueError(
            f"--ray {address}: no Ray cluster runs on this machine, and RAY_ADDRESS names none. {START}"
            if address == "auto"
            else f"--ray {address}: Ray cannot connect: {reason(error)}. {_TOKEN}"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()
