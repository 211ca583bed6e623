"""Worker processes: each trains the jobs that it is sent, and sends back their progress and rows."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext

import torch

from formers.lab.executors.process_environment import changed_environment, gpu_of_worker, ignore_ctrl_c
from formers.lab.executors.remote_progress import Message, RemoteProgress
from formers.lab.store.records import Row
from formers.lab.store.write_error import WriteError
from formers.lab.train.job import Job
from formers.lab.train.other_lengths import row_of_lost_process
from formers.lab.train.stop import Stop, catch_signals
from formers.lab.train.training import train_job
from formers.machine.quiet_libraries import quiet_libraries

_CONNECTION_LOST = (EOFError, OSError)  # what a connection raises when the process at its other end has ended


class Worker:
    """A process that trains the jobs it is sent, as the process that sends them sees it.

    Attributes:
        number: its place among the workers, from 0.
        index: of the job that it was sent last.
        job: that job.
        connection: the end of the pipe that messages arrive at.
        process: the process itself.
    """

    def __init__(self, number: int, threads: int) -> None:
        context = _context()
        self.connection, other_end = context.Pipe()
        self.number, self._stop_requested = number, False
        with ignore_ctrl_c(), changed_environment({"OMP_NUM_THREADS": str(threads), **gpu_of_worker(number)}):
            given = (other_end, threads, dict(os.environ))
            self.process = context.Process(target=_train_jobs, args=given, daemon=True)
            self.process.start()
        other_end.close()  # so that the connection ends when the process does

    def send_job(self, index: int, job: Job) -> None:
        """Send a job to train."""
        self.index, self.job = index, job
        with suppress(*_CONNECTION_LOST):  # `receive` finds out
            self.connection.send(job)

    def receive(self) -> Message | Row | WriteError | None:
        """Return the next message of the process; None where it has ended without one."""
        try:
            return self.connection.recv()
        except _CONNECTION_LOST:
            return None

    def request_stop(self) -> None:
        """Ask the process to stop at the end of its step, and to end then."""
        if not self._stop_requested:
            self._stop_requested = True
            with suppress(*_CONNECTION_LOST):
                self.connection.send(None)

    def dismiss(self) -> None:
        """Let the process end, and wait until it has: there are no more jobs for it."""
        self.request_stop()
        self.connection.close()
        self.process.join()

    def lost_row(self) -> Row:
        """Return the row of the job whose process ended before it had one."""
        self.process.join()
        return row_of_lost_process(self.job, f"its process ended by itself ({describe_exit(self.process.exitcode)})")


def describe_exit(code: int | None) -> str:
    """Return the exit code of a process in words, with the name of the signal that ended it."""
    if code is None or code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name
    return f"{name}: killed, as the system does when memory runs out" if name == "SIGKILL" else name


def _context() -> SpawnContext | ForkServerContext:
    """Return how workers start: forked from a process that has imported what they need, which takes seconds, once.

    That process has used neither OpenMP nor a GPU, since a fork of one that has hangs. Where there is a GPU, which an
    import may ask for its name, and on other systems, each worker starts anew.
    """
    if sys.platform != "linux" or torch.accelerator.is_available():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _train_jobs(connection: Connection, threads: int, environment: Mapping[str, str]) -> None:
    """Train every job that arrives, in the worker's process, until None arrives or the other process has ended."""
    os.environ.clear()
    os.environ.update(environment)  # as it is now, and not when the process was started that this one is a fork of
    quiet_libraries()
    torch.set_num_threads(threads)
    with catch_signals() as stop, ignore_ctrl_c(), suppress(*_CONNECTION_LOST):
        send = _sender(connection, stop)
        while isinstance(job := connection.recv(), Job):
            try:
                send(train_job(job, RemoteProgress(send), stop))
            except WriteError as error:
                send(error)


def _sender(connection: Connection, stop: Stop) -> Callable[[Message | Row | WriteError], None]:
    """Return a function that sends a message, and requests a stop where the other end asks for it or has ended."""

    def send(message: Message | Row | WriteError) -> None:
        try:
            connection.send(message)
            stop.request_if(connection.poll())  # None arrived, or the end of the other process
        except _CONNECTION_LOST:
            stop.request_if(True)

    return send
