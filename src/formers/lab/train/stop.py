"""Stopping a study so that it can go on: at the end of a step, with a checkpoint."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_NOTICE = b"\nstopping after this step, with a checkpoint; Ctrl-C again stops at once\n"


class Stopped(KeyboardInterrupt):
    """The study was stopped. The message says what is kept and how to go on."""


class Stop:
    """A request to stop.

    Attributes:
        requested: whether it was made.
        notice: what the user is told when Ctrl-C makes it.
        save_requested: whether a checkpoint is asked for at the end of the current step, after which training goes on.
    """

    def __init__(self) -> None:
        self.requested = self.save_requested = False
        self.notice = _NOTICE

    def request(self) -> None:
        """Ask to stop at the end of the current step. Raise KeyboardInterrupt where that was asked for before."""
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True

    def request_if(self, wanted: bool) -> None:
        """Ask to stop, once more or for the first time, where that is wanted; what was asked for before stays.

        Unlike `requested |= wanted`, it undoes no signal that arrives meanwhile.
        """
        if wanted:
            self.requested = True


@contextmanager
def catch_signals() -> Iterator[Stop]:
    """Turn Ctrl-C and SIGTERM, while the block runs, into requests to stop; none breaks off a step."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # signals arrive in the main thread only, which then decides about them
        return

    def request(number: int, frame: FrameType | None) -> None:
        stop.request()
        os.write(2, stop.notice)  # print may be in the middle of a line, and refuses to be entered again

    before: dict[int, Any] = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
