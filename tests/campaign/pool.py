"""Worker processes for cases, each with its limits of time and memory: a case that breaks one breaks no other."""

from __future__ import annotations

import gc
import os
import resource
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from campaign.verdict import Outcome, Verdict, judge

Case = tuple[str, int]
"""A way in, and a seed: all that it takes to make a case again."""
Enter = Callable[[str, int, Path], None]
"""Takes a case, in an empty folder; raises what comes of it."""
_CASES_PER_WORKER = 500
_FORK = get_context("fork")


@dataclass(frozen=True)
class Limits:
    """What one case may take. Time is counted on the processor, so that a busy machine makes no hangs; `patience`
    ends a case that waits."""

    seconds: float = 5.0
    patience: float = 60.0
    bytes: int = 4 << 30


def run_cases(cases: Iterable[Case], enter: Enter, workers: int = 1, limits: Limits | None = None) -> Iterator[Outcome]:
    """Yield the outcome of every case, as they come.

    Workers are forked from this process: what is imported here, they need not import.
    """
    limits, waiting, busy = limits or Limits(), iter(cases), list[_Worker]()
    try:
        for _ in range(workers):
            busy.append(_Worker(enter, limits))
        for worker in [*busy]:
            worker.begin(next(waiting, None), busy)
        while busy:
            yield from _arrived(waiting, busy)
    finally:
        for worker in busy:
            worker.kill()


def _arrived(waiting: Iterator[Case], busy: list[_Worker]) -> Iterator[Outcome]:
    """Yield the outcomes that are there, and give their workers the next cases."""
    ready = wait([worker.connection for worker in busy], timeout=0.5)
    for worker in [*busy]:
        if worker.connection in ready or worker.is_late:
            yield worker.outcome()
            worker.begin(next(waiting, None), busy)


@dataclass(eq=False)
class _Worker:
    """One process, the case that it works on, and when that ends at the latest."""

    enter: Enter
    limits: Limits
    case: Case = ("", 0)
    deadline: float = 0.0
    done: int = 0
    connection: Connection = field(init=False)
    process: Any = field(init=False)

    def __post_init__(self) -> None:
        self.connection, other = _FORK.Pipe()
        self.process = _FORK.Process(target=_work, args=(other, self.enter, self.limits), daemon=True)
        self.process.start()
        other.close()
        self.done = 0

    @property
    def is_late(self) -> bool:
        return time.monotonic() > self.deadline

    def begin(self, case: Case | None, busy: list[_Worker]) -> None:
        """Hand a case to the process, or to a new one where that is dead or old; leave `busy` without a case."""
        if case is None:
            busy.remove(self)
            self.kill()
            return
        if self.done >= _CASES_PER_WORKER or not self.process.is_alive():
            self.kill()
            self.__post_init__()
        self.case, self.deadline = case, time.monotonic() + self.limits.patience
        self.done += 1
        self.connection.send(case)

    def outcome(self) -> Outcome:
        """Return what came of the case; a process that is late, or dead, is the outcome."""
        if not self.connection.poll():
            self.kill()
            return Outcome(*self.case, Verdict.HANG, f"nothing came for {self.limits.patience:g} s")
        try:
            return Outcome(*self.case, *self.connection.recv())
        except EOFError:
            self.process.join()
        if self.process.exitcode == -signal.SIGPROF:
            return Outcome(*self.case, Verdict.HANG, f"{self.limits.seconds:g} s of the processor were not enough")
        return Outcome(*self.case, Verdict.TRACEBACK, f"the process died with code {self.process.exitcode}")

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


def _work(connection: Connection, enter: Enter, limits: Limits) -> None:
    """Take cases and send verdicts until nothing comes."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + limits.bytes, used + limits.bytes))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process, also inside of C
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    while True:
        try:
            way, seed = connection.recv()
        except EOFError:
            return
        signal.setitimer(signal.ITIMER_PROF, limits.seconds)
        verdict = one_case(enter, way, seed)
        signal.setitimer(signal.ITIMER_PROF, 0)
        connection.send(verdict)
        if verdict[0] is not Verdict.REFUSED:
            gc.collect()


def one_case(enter: Enter, way: str, seed: int) -> tuple[Verdict, str]:
    """Return the verdict on a case, which is tried in an empty folder of its own."""
    folder, before = Path(tempfile.mkdtemp(prefix=f"{way.replace(' ', '-')}-{seed}-")), Path.cwd()
    os.chdir(folder)
    try:
        enter(way, seed, folder)
    except BaseException as error:
        return judge(error)
    finally:
        os.chdir(before)
        shutil.rmtree(folder, ignore_errors=True)
    return Verdict.READ, ""
