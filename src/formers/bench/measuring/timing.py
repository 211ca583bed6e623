"""Fair timing: candidates take turns in a new random order each round, so that a busy moment hits all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import torch

from formers.machine.garbage import no_garbage

_SHORT = 0.1
"""Seconds. A shorter call is made once more before its turn, untimed, so that it finds its own data in the cache and
the allocator, and not those of the candidate before it."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """A function that can be timed.

    Attributes:
        run: called, and timed.
        prepare: called before each run, untimed.
        repeats: how often a run does the same thing; its time is divided by it.
    """

    run: Callable[[], Any]
    prepare: Callable[[], Any] | None = None
    repeats: int = 1

    def set_up(self) -> None:
        """Do what a run needs before it."""
        if self.prepare is not None:
            self.prepare()

    def once(self) -> None:
        """Run without timing."""
        self.set_up()
        self.run()


class Turns:
    """Calls that take turns.

    Args:
        calls: by name.
        device: where they run; on a GPU, events on its stream are timed, not the time to queue the work.
        seed: of the order within each round.
        short: seconds; a shorter call warms up before its turn.
    """

    def __init__(self, calls: Mapping[str, Call], *, device: str = "cpu", seed: int = 0, short: float = _SHORT) -> None:
        self.calls, self.device, self.random, self.short = dict(calls), device, Random(seed), short
        self.last = dict.fromkeys(self.calls, 0.0)

    def order(self) -> list[str]:
        """Return the names in a new random order."""
        return self.random.sample(list(self.calls), len(self.calls))

    def take(self, name: str) -> float:
        """Take one turn; return the seconds of one run over its `repeats`."""
        call = self.calls[name]
        if self.last[name] < self.short:
            call.once()
        call.set_up()
        self.last[name] = seconds(call.run, self.device)
        return self.last[name] / call.repeats

    def round(self) -> dict[str, float]:
        """Take everyone's turn in a new order; return name → seconds."""
        taken = {name: self.take(name) for name in self.order()}
        return {name: taken[name] for name in self.calls}


def seconds(run: Callable[[], Any], device: str = "cpu") -> float:
    """Return the seconds of one call, without garbage collection; on a GPU, until all that it has started is done."""
    with no_garbage():
        return _gpu_seconds(run, device) if device.startswith("cuda") else cpu_seconds(run)


def cpu_seconds(run: Callable[[], Any]) -> float:
    """Return the seconds of one call on the processor."""
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def _gpu_seconds(run: Callable[[], Any], device: str) -> float:
    """Return the seconds between two events on the stream, one before and one after the call."""
    with torch.cuda.device(device):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        begin.record()
        run()
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end) / 1e3
