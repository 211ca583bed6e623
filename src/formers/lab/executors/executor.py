"""Where the arms of a study are trained: one after the other, side by side in processes, on a cluster, or by many ranks."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Protocol

from formers.lab.plan.job import Job
from formers.lab.store.records import Row
from formers.lab.train.progress import Progress
from formers.lab.train.stop import Stop
from formers.lab.train.training import train


class Executor(Protocol):
    """Trains jobs. Whoever asks it to sees rows arrive, and need not know where they come from."""

    def rows(self, jobs: Sequence[Job], progress: Progress, stop: Stop) -> Generator[tuple[int, Row], None, None]:
        """Yields the index of each job with its row, as they end.

        Once a stop is requested no further job begins, and those that run end with rows that are `stopped`. What is lost (a
        process that was killed, a machine that went away) is a row with its cause. Closing the iterator ends what still runs.
        """
        ...


class InTurn:
    """One job after the other, in this process."""

    def rows(self, jobs: Sequence[Job], progress: Progress, stop: Stop) -> Generator[tuple[int, Row], None, None]:
        for index, job in enumerate(jobs):
            if stop.requested:
                return
            progress.begin(job.label, job.budget.steps)
            yield index, train(job, progress, stop)
