"""Executors: what trains the jobs of a study."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Protocol

from formers.lab.store.records import Row
from formers.lab.train.job import Job
from formers.lab.train.progress import Progress
from formers.lab.train.stop import Stop


class Executor(Protocol):
    """Trains jobs: one after the other, in processes side by side, on a cluster, or each by many ranks."""

    def run_jobs(self, jobs: Sequence[Job], progress: Progress, stop: Stop) -> Generator[tuple[int, Row], None, None]:
        """Yield the index of each job with its row, as they end.

        Once a stop is requested no further job begins, and those that run end with rows that are `stopped`. A job that
        is lost (its process was killed, its machine went away) is a row with the cause. Closing the iterator ends what
        still runs.
        """
        ...
