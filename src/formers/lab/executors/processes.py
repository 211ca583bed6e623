"""Jobs side by side on one machine, each in a process with its share of the cores, or with a GPU of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from typing import cast

import torch

from formers.lab.executors.remote_progress import deliver
from formers.lab.executors.worker import Worker
from formers.lab.store.records import Row
from formers.lab.store.write_error import WriteError
from formers.lab.train.job import Job
from formers.lab.train.progress import Progress
from formers.lab.train.stop import Stop

_SECONDS_BETWEEN_CHECKS = 0.2  # of whether a stop was requested
_RETRIES = 3
"""New processes for a job that only tests a trained model, whose process was killed: a length at which each of them
dies is given up by the last."""


class Processes:
    """Trains `count` jobs at a time. This process gets their progress and their rows; only it writes the store.

    The threads of this process are shared out: each worker gets threads // count of them. The sums of floating-point
    numbers, and so the last bits of a result, may depend on the number of threads; with the same number, they are those
    of `Serial`. Where there are GPUs, the workers take them in turn.

    Raises:
        ValueError: for a count below 1.
    """

    def __init__(self, count: int) -> None:
        if count < 1:
            raise ValueError(f"--jobs {count}: at least one arm has to train at a time")
        self.count, self.threads = count, max(1, torch.get_num_threads() // count)

    def run_jobs(self, jobs: Sequence[Job], progress: Progress, stop: Stop) -> Generator[tuple[int, Row], None, None]:
        """Yield the index of each job with its row, as they end. Raise WriteError where a worker could not write."""
        waiting = deque(enumerate(jobs))
        busy: dict[Connection, Worker] = {}
        again = dict.fromkeys((i for i, job in enumerate(jobs) if job.trained is not None), _RETRIES)

        def start_next_job(worker: Worker) -> None:
            index, job = waiting.popleft()
            busy[worker.connection] = worker
            progress.begin(job.label, job.budget.steps)
            worker.send_job(index, replace(job, place={"jobs": str(self.count)}))

        try:
            for number in range(min(self.count, len(jobs))):
                start_next_job(Worker(number, self.threads))
            while busy:
                for connection in wait([*busy], _SECONDS_BETWEEN_CHECKS):
                    worker = busy[cast(Connection, connection)]
                    message = worker.receive()
                    if isinstance(message, tuple):
                        deliver(message, progress)
                        continue
                    if isinstance(message, WriteError):
                        raise message
                    del busy[worker.connection]
                    if message is None and again.get(worker.index) and not stop.requested:
                        again[worker.index] -= 1
                        waiting.appendleft((worker.index, jobs[worker.index]))
                        start_next_job(Worker(worker.number, self.threads))
                        continue
                    row = message or worker.lost_row()
                    stop.request_if(row.status == "stopped")
                    yield worker.index, row
                    if waiting and not stop.requested:
                        start_next_job(worker if message else Worker(worker.number, self.threads))
                    else:
                        worker.dismiss()
                if stop.requested:
                    for worker in busy.values():
                        worker.request_stop()
        finally:
            for worker in busy.values():
                worker.process.kill()
