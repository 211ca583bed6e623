"""The progress of a study on the screen: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from formers.lab.store.records import Row
from formers.plot.visible_text import visible, visible_line

_BAR = 24
_COUNTED = 10  # characters of `… 999 more`


class Progress(Protocol):
    """A listener that is told what happens in a study. Several arms may run at once; their labels tell them apart.

    An arm begins before its first step, and anew after it has waited. What an arm on another machine tells may arrive
    after its end.
    """

    def wait(self, label: str, reason: str) -> None:
        """Report that an arm waits for its turn, and what for."""

    def begin(self, label: str, steps: int) -> None:
        """Report that an arm begins to train, for `steps` steps."""

    def step(self, label: str, done: int) -> None:
        """Report that an arm has taken `done` of its steps."""

    def measured(self, label: str, done: int, values: dict[str, float]) -> None:
        """Report what was measured after `done` steps: metric name → value."""

    def end(self, row: Row, label: str) -> None:
        """Report that an arm has ended with a row."""

    def note(self, text: str) -> None:
        """Report anything else that the user should know."""


class Silent:
    """A listener that shows nothing."""

    def wait(self, label: str, reason: str) -> None: ...
    def begin(self, label: str, steps: int) -> None: ...
    def step(self, label: str, done: int) -> None: ...
    def measured(self, label: str, done: int, values: dict[str, float]) -> None: ...
    def end(self, row: Row, label: str) -> None: ...
    def note(self, text: str) -> None: ...


@dataclass
class _Running:
    """The progress of one arm.

    Attributes:
        steps: all that it will take.
        values: the latest of each metric.
        done: the steps that it has taken.
        first: the first step that was reported: a resumed arm does not start at 0.
        first_time: when that was, in seconds.
    """

    steps: int
    values: dict[str, float] = field(default_factory=dict)
    done: int = 0
    first: int | None = None
    first_time: float = 0.0

    def step(self, done: int) -> None:
        if self.first is None:
            self.first, self.first_time = done, time.perf_counter()
        self.done = done

    def time_left(self) -> str:
        """Return minutes and seconds to the end, at the speed so far; nothing where that is not known."""
        if self.first is None or self.done <= self.first:
            return ""
        seconds = (time.perf_counter() - self.first_time) / (self.done - self.first) * (self.steps - self.done)
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d} left"


class Lines:
    """Prints one line when an arm begins, at each of its evaluations, and when it ends."""

    def __init__(self, console: Console) -> None:
        self.console, self.running = console, dict[str, _Running]()

    def wait(self, label: str, reason: str) -> None:
        self._print(f"{label}: {reason}")

    def begin(self, label: str, steps: int) -> None:
        self.running[label] = _Running(steps)
        self._print(f"{label}: {steps} steps")

    def step(self, label: str, done: int) -> None: ...

    def measured(self, label: str, done: int, values: dict[str, float]) -> None:
        if (arm := self.running.get(label)) is None:
            return  # it arrived after the end
        arm.values |= values
        if set(values) - {"train_loss"}:
            self._print(f"{label}: step {done}/{arm.steps}, {_numbers(arm.values)}")

    def end(self, row: Row, label: str) -> None:
        self.running.pop(label, None)
        self._print(f"{label}: {_outcome(row)}")

    def note(self, text: str) -> None:
        self._print(text)

    def _print(self, line: str) -> None:
        self.console.print(Text(visible(line)), soft_wrap=True)


class Bars:
    """A live table with a bar, the latest numbers and the time left of each arm. Use it as a context manager."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.done: list[tuple[str, str, str]] = []
        self.running: dict[str, _Running] = {}
        self.waiting: dict[str, str] = {}
        self.live = Live(console=console, refresh_per_second=4, transient=True, get_renderable=self.table)

    def __enter__(self) -> Bars:
        self.live.__enter__()
        return self

    def __exit__(self, *reason: object) -> None:
        self.live.stop()

    def wait(self, label: str, reason: str) -> None:
        self.running.pop(label, None)
        self.waiting[label] = reason

    def begin(self, label: str, steps: int) -> None:
        self.waiting.pop(label, None)
        self.running[label] = _Running(steps)

    def step(self, label: str, done: int) -> None:
        if label in self.running:  # and has not ended
            self.running[label].step(done)

    def measured(self, label: str, done: int, values: dict[str, float]) -> None:
        if label in self.running:
            self.running[label].values |= values

    def end(self, row: Row, label: str) -> None:
        self.running.pop(label, None)
        self.waiting.pop(label, None)
        self.done.append((label, "█" * _BAR if row.status == "finished" else row.status, _outcome(row)))

    def note(self, text: str) -> None:
        self.console.print(Text(visible(text)), soft_wrap=True)

    def table(self) -> Table:
        """Return the table as it is now: what runs, what waits, and what has ended, the newest first.

        It has a line for each arm, as many as the screen has room for; those left out are counted. Labels and causes
        are shown to the letter, never read as markup.
        """
        table = Table.grid(padding=(0, 2))
        table.add_column(min_width=_COUNTED)
        rows: list[tuple[str, ...]] = []
        for label, arm in [*self.running.items()]:  # drawn in a thread of its own
            filled = _BAR * arm.done // max(1, arm.steps)
            told = ", ".join(filter(None, (arm.time_left(), _numbers(arm.values))))
            rows.append((label, "█" * filled + "░" * (_BAR - filled), told))
        rows += [(label, "░" * _BAR, reason) for label, reason in [*self.waiting.items()]]
        rows += reversed(self.done)
        room = self.console.size.height
        if len(rows) > room:
            rows[room - 1 :] = [(f"… {len(rows) - room + 1} more",)]
        for row in rows:
            table.add_row(*(Text(visible_line(cell), no_wrap=True, overflow="ellipsis") for cell in row))
        return table


def _numbers(values: dict[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in values.items())


def _outcome(row: Row) -> str:
    """Return how an arm ended, in one line."""
    if row.status != "finished":
        return f"{row.status.replace('_', ' ')}: {row.cause}"
    return f"{_numbers(row.metrics or row.validation)}, {row.train_seconds:.0f} s of training"
