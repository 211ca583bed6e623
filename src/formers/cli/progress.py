"""The progress of long work, on standard error: bars in a terminal, now and then a line elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from formers.cli.say import say

_SECONDS_BETWEEN_LINES = 10.0
_SHARE_BETWEEN_LINES = 0.05


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show the progress of one piece of work; the function takes what is done, and the whole."""
    with progress_bars() as show:
        yield lambda done, total: show(what, done, total)


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Show the progress of several stages; the function takes the stage, what is done of it, and the whole.

    A terminal has a bar for each stage. A file or a pipe gets a line at most every ten seconds and every twentieth of a
    stage, so that short work leaves none.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _ProgressLog().show
        return
    columns: list[Any] = [TextColumn("{task.description}"), BarColumn(bar_width=24), TimeRemainingColumn()]
    with Progress(*columns, console=console, transient=True) as bar:
        tasks: dict[str, Any] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=done, total=total)

        yield show


class _ProgressLog:
    """Prints lines of progress, seldom enough for a log."""

    def __init__(self) -> None:
        self.printed_at, self.printed = time.monotonic(), dict[str, int]()

    def show(self, stage: str, done: int, total: int) -> None:
        now, more = time.monotonic(), done - self.printed.get(stage, 0)
        if now - self.printed_at < _SECONDS_BETWEEN_LINES or more < _SHARE_BETWEEN_LINES * total:
            return
        self.printed_at, self.printed[stage] = now, done
        say(f"{stage}: {done:,} of {total:,}", err=True)
