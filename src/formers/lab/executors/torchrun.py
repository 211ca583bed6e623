"""Jobs trained by several ranks together: the first one leads, the others follow."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

from formers.lab.distributed import ranks
from formers.lab.plan.job import Job
from formers.lab.store.records import Results, Row
from formers.lab.train.progress import Progress, Silent
from formers.lab.train.stop import Stop, Stopped, stopping
from formers.lab.train.training import train


class Together:
    """One job after the other, each by all ranks. Only the first rank asks for rows; the others are in `follow`."""

    def rows(self, jobs: Sequence[Job], progress: Progress, stop: Stop) -> Generator[tuple[int, Row], None, None]:
        for index, job in enumerate(jobs):
            if stop.requested:
                return
            ranks.broadcast_from_rank0(job)
            progress.begin(job.label, job.budget.steps)
            yield index, train(job, progress, stop)


def lead(work: Callable[[], Results]) -> Results:
    """Does what the first rank does, and lets the others go with its results, or without when it fails."""
    try:
        results = work()
    except (Stopped, Exception) as error:
        if not isinstance(error, ranks.LostRank):  # nobody is left to tell
            ranks.broadcast_from_rank0(None)
        raise
    return ranks.broadcast_from_rank0(results)


def follow() -> Results:
    """Trains what the first rank trains, until it lets go. Ends the process quietly where that one failed: it says why."""
    said: Job | Results | None = None
    with stopping() as stop:
        while isinstance(said := ranks.broadcast_from_rank0(said), Job):
            train(said, Silent(), stop)
    if said is None:
        raise SystemExit(0)
    return said
