"""The clock of a training: the time of its steps alone, on a device that works on after a step has been launched."""

from __future__ import annotations

import time
from typing import Any

import torch

_OPEN = 100
"""Steps whose times are not read yet, at most, before those are read that have ended."""


class StepClock:
    """Seconds from the start to the end of each step: making batches, evaluating and saving are not training time.

    On a GPU these are the device's own: a step is launched long before its work is done, and while the next batch is
    made, or a loss is waited for, the device works on. Events at both ends of a step in its stream tell when that work
    began and ended; nothing waits for them but `seconds`.
    """

    def __init__(self, device: str, seconds: float = 0.0) -> None:
        """Begin with so many seconds, of before a training was resumed, on `cuda` or `cpu`."""
        self._on_gpu = device == "cuda"
        self._seconds = seconds
        self._start: Any = None
        self._open: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    def begin_step(self) -> None:
        """Start the clock."""
        self._start = self._now()

    def end_step(self) -> None:
        """Stop the clock, without waiting for the device."""
        if not self._on_gpu:
            self._seconds += self._now() - self._start
            return
        self._open.append((self._start, self._now()))
        while len(self._open) > _OPEN and self._open[0][1].query():
            self._read_first()

    @property
    def seconds(self) -> float:
        """The seconds of all steps so far, once the device has ended them."""
        if self._open:
            self._open[-1][1].synchronize()
        while self._open:
            self._read_first()
        return self._seconds

    def _now(self) -> Any:
        if not self._on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _read_first(self) -> None:
        start, end = self._open.pop(0)
        self._seconds += start.elapsed_time(end) / 1000
