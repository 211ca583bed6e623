"""Progress that is told elsewhere: in another process, or on another machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

from formers.lab.store.records import Row
from formers.lab.train.progress import Progress

Message = tuple[Literal["begin", "step", "measured", "end", "note"], tuple[Any, ...]]
"The name of a method of `Progress`, and what it is called with."

_PAUSE = (
    0.1  # seconds between two messages about steps: nobody reads faster, and a small model takes thousands a second
)


class Sender:
    """Sends on what it is told. `send` gets every message but most of the steps."""

    def __init__(self, send: Callable[[Message], None]) -> None:
        self.send, self.sent = send, 0.0

    def begin(self, label: str, steps: int) -> None:
        self.send(("begin", (label, steps)))

    def step(self, label: str, done: int) -> None:
        if time.monotonic() - self.sent >= _PAUSE:
            self.sent = time.monotonic()
            self.send(("step", (label, done)))

    def measured(self, label: str, done: int, values: dict[str, float]) -> None:
        self.send(("measured", (label, done, values)))

    def end(self, row: Row, label: str) -> None:
        self.send(("end", (row, label)))

    def note(self, text: str) -> None:
        self.send(("note", (text,)))


def tell(progress: Progress, message: Message) -> None:
    """Says what a sender has sent."""
    name, given = message
    getattr(progress, name)(*given)
