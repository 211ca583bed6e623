"""One job after the other, in this process."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from formers.lab.store.records import Row
from formers.lab.train.job import Job
from formers.lab.train.progress import Progress
from formers.lab.train.stop import Stop
from formers.lab.train.training import train_job


class Serial:
    """Trains one job after the other, in this process."""

    def run_jobs(self, jobs: Sequence[Job], progress: Progress, stop: Stop) -> Generator[tuple[int, Row], None, None]:
        """Yield the index of each job with its row, until a stop is requested."""
        for index, job in enumerate(jobs):
            if stop.requested:
                return
            progress.begin(job.label, job.budget.steps)
            yield index, train_job(job, progress, stop)
