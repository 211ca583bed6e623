"""Stopping a study so that it can go on: at the end of a step, with a checkpoint."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Stopped(KeyboardInterrupt):
    """The study was stopped. The message says what is kept and how to go on."""


_WAIT = b"\nstopping after this step, with a checkpoint; Ctrl-C again stops at once\n"


class Stop:
    """Whether a stop has been asked for."""

    def __init__(self) -> None:
        self.requested = False

    def request(self) -> None:
        """Asks to stop at the end of the current step; asked a second time, stops at once."""
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True


@contextmanager
def stopping() -> Iterator[Stop]:
    """While the block runs, Ctrl-C and SIGTERM ask to stop instead of breaking off in the middle of a step."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # signals arrive in the main thread only, which then decides about them
        return

    def ask(number: int, frame: FrameType | None) -> None:
        stop.request()
        os.write(2, _WAIT)  # print may be in the middle of a line, and refuses to be entered again

    before: dict[int, Any] = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
