"""Progress of a training in another process, or on another machine: sent as messages, and shown here."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

from formers.lab.store.records import Row
from formers.lab.train.progress import Progress

Message = tuple[Literal["wait", "begin", "step", "measured", "end", "note"], tuple[Any, ...]]
"""The name of a method of `Progress`, and its arguments."""

_SECONDS_BETWEEN_STEPS = 0.1  # nobody reads faster, and a small model takes thousands of steps a second


class RemoteProgress:
    """A `Progress` that hands everything it is told, but most of the steps, to `send`.

    Of the steps, it hands on one in `pause` seconds.
    """

    def __init__(self, send: Callable[[Message], None], pause: float = _SECONDS_BETWEEN_STEPS) -> None:
        self._send, self._pause, self._last_step = send, pause, 0.0

    def wait(self, label: str, reason: str) -> None:
        self._send(("wait", (label, reason)))

    def begin(self, label: str, steps: int) -> None:
        self._send(("begin", (label, steps)))

    def step(self, label: str, done: int) -> None:
        if time.monotonic() - self._last_step >= self._pause:
            self._last_step = time.monotonic()
            self._send(("step", (label, done)))

    def measured(self, label: str, done: int, values: dict[str, float]) -> None:
        self._send(("measured", (label, done, values)))

    def end(self, row: Row, label: str) -> None:
        self._send(("end", (row, label)))

    def note(self, text: str) -> None:
        self._send(("note", (text,)))


def deliver(message: Message, progress: Progress) -> None:
    """Tell a progress of this process what a `RemoteProgress` was told."""
    method, arguments = message
    getattr(progress, method)(*arguments)
