"""Jobs side by side on one machine, each in a process of its own with its share of the cores, or with a GPU of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from typing import cast

import torch

from formers.lab.executors.remote_progress import Message, Sender, tell
from formers.lab.plan.job import Job
from formers.lab.store.quiet_libraries import quiet
from formers.lab.store.records import Row
from formers.lab.store.write_error import WriteError
from formers.lab.train.progress import Progress
from formers.lab.train.stop import Stop, stopping
from formers.lab.train.training import train
from formers.machine.environment import environment

_TICK = 0.2  # seconds between two looks at whether a stop was asked for
_GONE = (EOFError, OSError)  # what a connection raises when the process at its other end has ended


class Processes:
    """`count` jobs at a time. This process hears of their progress and gets their rows; only it writes the store.

    The threads of this process are shared out: each worker gets threads // count of them. The sums of floating-point
    numbers, and so the last bits of a result, may depend on the number of threads; with the same number, they are those of
    `InTurn`. Where there are GPUs, the workers take them in turn.
    """

    def __init__(self, count: int) -> None:
        if count < 1:
            raise ValueError(f"--jobs {count}: at least one arm has to train at a time")
        self.count, self.threads = count, max(1, torch.get_num_threads() // count)

    def rows(self, jobs: Sequence[Job], progress: Progress, stop: Stop) -> Generator[tuple[int, Row], None, None]:
        waiting = deque(enumerate(jobs))
        crew: dict[Connection, _Worker] = {}

        def employ(worker: _Worker) -> None:
            index, job = waiting.popleft()
            crew[worker.connection] = worker
            progress.begin(job.label, job.budget.steps)
            worker.give(index, job)

        try:
            for seat in range(min(self.count, len(jobs))):
                employ(_Worker(seat, self.threads))
            while crew:
                for connection in wait([*crew], _TICK):
                    worker = crew[cast(Connection, connection)]
                    said = worker.hear()
                    if isinstance(said, tuple):
                        tell(progress, said)
                        continue
                    if isinstance(said, WriteError):
                        raise said
                    del crew[worker.connection]
                    row = said or worker.lost(jobs[worker.index])
                    stop.requested |= row.status == "stopped"
                    yield worker.index, replace(row, environment={**row.environment, "jobs": str(self.count)})
                    if waiting and not stop.requested:
                        employ(worker if said else _Worker(worker.seat, self.threads))
                    else:
                        worker.leave()
                if stop.requested:
                    for worker in crew.values():
                        worker.stop()
        finally:
            for worker in crew.values():
                worker.process.kill()


class _Worker:
    """A process that trains the jobs it is given, seen from the one that gives them."""

    def __init__(self, seat: int, threads: int) -> None:
        spawn = multiprocessing.get_context("spawn")  # a fork of a process that has used OpenMP or CUDA hangs
        self.connection, theirs = spawn.Pipe()
        self.seat, self.index, self.stopping = seat, -1, False
        self.process = spawn.Process(target=_work, args=(theirs, threads), daemon=True)
        with _deaf(), given_environment({"OMP_NUM_THREADS": str(threads), **device(seat)}):
            self.process.start()
        theirs.close()  # so that the connection ends when the process does

    def give(self, index: int, job: Job) -> None:
        self.index = index
        with suppress(*_GONE):  # `hear` finds out
            self.connection.send(job)

    def hear(self) -> Message | Row | WriteError | None:
        """What the process says; None when it has ended without a word."""
        try:
            return self.connection.recv()
        except _GONE:
            return None

    def stop(self) -> None:
        """Asks the process to stop at the end of its step, and to leave then."""
        if not self.stopping:
            self.stopping = True
            with suppress(*_GONE):
                self.connection.send(None)

    def leave(self) -> None:
        """Nothing more comes: the process ends."""
        self.stop()
        self.connection.close()
        self.process.join()

    def lost(self, job: Job) -> Row:
        """The row of a job whose process ended before it had one; its last checkpoint is kept."""
        self.process.join()
        cause = f"its process ended by itself ({ending(self.process.exitcode)}); its last checkpoint is kept"
        return replace(job.row(), status="failed", cause=cause, environment=environment())


def ending(code: int | None) -> str:
    """An exit code in words."""
    if code is None or code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name
    return f"{name}: killed, as the system does when memory runs out" if name == "SIGKILL" else name


def device(seat: int) -> dict[str, str]:
    """What makes a worker see one GPU only, where there are any: the seats take them in turn."""
    if not torch.cuda.is_available():
        return {}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    names = [name for name in visible if name] or [str(i) for i in range(torch.cuda.device_count())]
    return {"CUDA_VISIBLE_DEVICES": names[seat % len(names)]}


@contextmanager
def given_environment(changes: dict[str, str]) -> Iterator[None]:
    """The environment with changes, for a process that is started in it: OpenMP and CUDA read theirs as they load."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ.update({} if value is None else {name: value})


@contextmanager
def _deaf() -> Iterator[None]:
    """Ctrl-C reaches every process of a terminal. One that is started here does not hear it: its starter decides."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may say what signals do
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _work(connection: Connection, threads: int) -> None:
    """What a worker does: trains what it is given, until it is told to leave or nobody is left to tell."""
    quiet()
    torch.set_num_threads(threads)
    with stopping() as stop, _deaf():

        def send(message: Message | Row | WriteError) -> None:
            try:
                connection.send(message)
                stop.requested |= connection.poll()  # None, or the end of the other process
            except _GONE:
                stop.requested = True

        with suppress(*_GONE):
            while isinstance(job := connection.recv(), Job):
                try:
                    send(train(job, Sender(send), stop))
                except WriteError as error:
                    send(error)
