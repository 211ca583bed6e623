"""An arm as a job of the cluster: what runs on the node."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from formers.lab.executors.remote_progress import RemoteProgress
from formers.lab.executors.slurm_files import ArmFiles
from formers.lab.store.records import Row
from formers.lab.store.write_error import WriteError
from formers.lab.train.job import Job
from formers.lab.train.stop import Stop

_TICKET_SECONDS = 60.0
"""Seconds in which the ticket has to arrive on the node: the process that submits the job writes it just after."""
_SECONDS_BETWEEN_LOOKS = 0.2
_SECONDS_BETWEEN_STEPS = 2.0  # that are told: the file is on a disk that many machines share


@dataclass(frozen=True)
class ArmOnNode:
    """Trains a job when it is called, and leaves its row in a file. It can be pickled, with the job.

    Where the cluster takes the node back, or the time runs out, the arm stops at the end of its step with a checkpoint
    and goes back into the queue; there it goes on from the checkpoint.
    """

    job: Job
    files: ArmFiles
    cores: int = 1
    time: str = ""

    def __call__(self) -> None:
        """Train the job, as the one that the ticket names; do nothing where it names another."""
        from submitit import JobEnvironment

        own = JobEnvironment().job_id
        if not self._is_named(own):
            print(f"another job trains this arm: {self.files.named_job() or 'none was announced'}; {own} ends")
            return
        try:
            row = self._train()
        except WriteError as error:
            self.files.write_error(own, error)
            raise
        self.files.write_row(own, row)

    def checkpoint(self) -> Any:
        """Return this arm, for submitit to put it back into the queue."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _train(self) -> Row:
        """Return the row of the job. Does not return where it goes back into the queue.

        Raises:
            SystemExit: where it goes back into the queue, and where it was stopped otherwise; its checkpoint is kept.
        """
        import torch

        from formers.lab.train.training import train_job
        from formers.machine.quiet_libraries import quiet_libraries

        quiet_libraries()
        threads = torch.get_num_threads()
        torch.set_num_threads(self.cores)
        self.files.tell(("begin", (self.job.label, self.job.budget.steps)))
        try:
            with _cluster_signals() as signals:
                row = train_job(self.job, RemoteProgress(self.files.tell, _SECONDS_BETWEEN_STEPS), signals.stop)
        finally:
            torch.set_num_threads(threads)
        if row.status != "stopped":
            return row
        if not signals.takes_back:
            raise SystemExit("stopped by Ctrl-C, with a checkpoint")
        return self._requeue(row)

    def _requeue(self, row: Row) -> Row:
        """Put the job back into the queue; return a failed row where its time ran out too often."""
        from submitit.core.utils import UncompletedJobError

        if not callable(signal.getsignal(take_back_signal())):
            raise SystemExit("stopped by the cluster, with a checkpoint; this queue takes nothing back")
        try:
            signal.raise_signal(take_back_signal())  # submitit's own handler, now that the checkpoint is written
        except UncompletedJobError as error:
            cause = (
                f"its time, {self.time}, ran out too often ({error}); its checkpoint of step {row.steps} is kept, and "
                "the next start goes on with it: give it more time, or more restarts"
            )
            return replace(row, status="failed", cause=" ".join(cause.split()))
        return row

    def _is_named(self, own: str) -> bool:
        """Return whether the ticket names this job; wait for a ticket to be there."""
        end = time.monotonic() + _TICKET_SECONDS
        while not self.files.named_job() and time.monotonic() < end:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        return self.files.named_job() == own


@dataclass
class _ClusterSignals:
    """What a cluster has asked of an arm.

    Attributes:
        stop: the request to stop, as training asks for it.
        takes_back: whether the cluster takes the node back, so that the arm goes into the queue again.
    """

    stop: Stop = field(default_factory=Stop)
    takes_back: bool = False


@contextmanager
def _cluster_signals() -> Iterator[_ClusterSignals]:
    """Turn the signals of a cluster, while the block runs, into requests that training follows at the end of a step.

    USR2 (or what SUBMITIT_PREEMPT_SIGNAL names) comes a while before the time is up, or the node is taken back: the
    arm stops with a checkpoint. SIGTERM comes before SIGKILL, where the job is cancelled, or a node is needed at once:
    the arm writes a checkpoint, and goes on for as long as it may.
    """
    found = _ClusterSignals()

    def take_back(number: int, frame: Any) -> None:
        found.takes_back = True
        found.stop.request_if(True)

    def save(number: int, frame: Any) -> None:
        found.stop.save_requested = True

    def stop(number: int, frame: Any) -> None:
        found.stop.request_if(True)

    handlers = {take_back_signal(): take_back, signal.SIGTERM: save, signal.SIGINT: stop}
    before: dict[Any, Any] = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield found
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def take_back_signal() -> signal.Signals:
    """Return the signal by which submitit lets a cluster take a node back."""
    return signal.Signals[f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}"]
