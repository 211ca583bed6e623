"""Jobs trained by all ranks of torchrun together: rank 0 decides what is trained, the others follow it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

from formers.lab.distributed import ranks
from formers.lab.store.records import Results, Row
from formers.lab.train.job import Job
from formers.lab.train.progress import Progress, Silent
from formers.lab.train.stop import Stop, Stopped, catch_signals
from formers.lab.train.training import train_job


class Torchrun:
    """Trains one job after the other, each by all ranks. Only rank 0 has it; the others are in `follow_rank0`."""

    def run_jobs(self, jobs: Sequence[Job], progress: Progress, stop: Stop) -> Generator[tuple[int, Row], None, None]:
        """Hand each job to the other ranks, train it with them, and yield its index and row."""
        for index, job in enumerate(jobs):
            if stop.requested:
                return
            ranks.broadcast_from_rank0(job)
            progress.begin(job.label, job.budget.steps)
            yield index, train_job(job, progress, stop)


def lead_ranks(work: Callable[[], Results]) -> Results:
    """Do the work of rank 0, and let the other ranks return its results, or nothing where it fails."""
    try:
        results = work()
    except (Stopped, Exception) as error:
        if not isinstance(error, ranks.LostRank):  # then nobody listens any more
            ranks.broadcast_from_rank0(None)
        raise
    return ranks.broadcast_from_rank0(results)


def follow_rank0() -> Results:
    """Train every job that rank 0 trains, and return its results at the end.

    Raises:
        SystemExit: with 0 where rank 0 failed, which reports why.
    """
    message: Job | Results | None = None
    with catch_signals() as stop:
        while isinstance(message := ranks.broadcast_from_rank0(message), Job):
            train_job(message, Silent(), stop)
    if message is None:
        raise SystemExit(0)
    return message
