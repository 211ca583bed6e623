"""Telling how a study goes: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.table import Table

from formers.lab.row import Row

BAR = 24


class Progress(Protocol):
    """Told what happens in a study, in order."""

    def begin(self, label: str, steps: int) -> None: ...
    def step(self, done: int) -> None: ...
    def measured(self, done: int, values: dict[str, float]) -> None: ...
    def end(self, row: Row, label: str) -> None: ...


class Silent:
    """Tells nothing."""

    def begin(self, label: str, steps: int) -> None: ...
    def step(self, done: int) -> None: ...
    def measured(self, done: int, values: dict[str, float]) -> None: ...
    def end(self, row: Row, label: str) -> None: ...


class Lines:
    """One line when an arm begins, at each of its evaluations, and when it ends."""

    def __init__(self, console: Console) -> None:
        self.console, self.label, self.steps, self.values = console, "", 0, dict[str, float]()

    def begin(self, label: str, steps: int) -> None:
        self.label, self.steps, self.values = label, steps, {}
        self.say(f"{label}: {steps} steps")

    def step(self, done: int) -> None: ...

    def measured(self, done: int, values: dict[str, float]) -> None:
        self.values |= values
        if set(values) - {"train_loss"}:
            self.say(f"{self.label}: step {done}/{self.steps}, {numbers(self.values)}")

    def end(self, row: Row, label: str) -> None:
        self.say(f"{label}: {outcome(row)}")

    def say(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)


class Bars:
    """A live table: for each arm a bar, its latest numbers and the time left. Use as a context manager."""

    def __init__(self, console: Console) -> None:
        self.done: list[tuple[str, str, str]] = []
        self.label, self.steps, self.now, self.first, self.since = "", 0, 0, 0, 0.0
        self.values: dict[str, float] = {}
        self.live = Live(console=console, refresh_per_second=4, transient=True, get_renderable=self.table)

    def __enter__(self) -> Bars:
        self.live.__enter__()
        return self

    def __exit__(self, *reason: object) -> None:
        self.live.stop()

    def begin(self, label: str, steps: int) -> None:
        self.label, self.steps, self.now, self.first, self.since, self.values = label, steps, 0, -1, 0.0, {}

    def step(self, done: int) -> None:
        if self.first < 0:  # a resumed arm does not start at 0
            self.first, self.since = done, time.perf_counter()
        self.now = done

    def measured(self, done: int, values: dict[str, float]) -> None:
        self.values |= values

    def end(self, row: Row, label: str) -> None:
        self.done.append((label, "█" * BAR if row.status == "finished" else row.status, outcome(row)))
        self.label = ""

    def left(self) -> str:
        """Minutes and seconds to the end of the running arm, at its pace so far."""
        passed = self.now - self.first
        if self.first < 0 or passed <= 0:
            return ""
        seconds = (time.perf_counter() - self.since) / passed * (self.steps - self.now)
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d} left"

    def table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for row in self.done:
            table.add_row(*row)
        if self.label:
            filled = BAR * self.now // max(1, self.steps)
            table.add_row(self.label, "█" * filled + "░" * (BAR - filled), numbers(self.values), self.left())
        return table


def numbers(values: dict[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in values.items())


def outcome(row: Row) -> str:
    """How an arm ended, in a line."""
    if row.status != "finished":
        return f"{row.status.replace('_', ' ')}: {row.cause}"
    return f"{numbers(row.metrics)}, {row.train_seconds:.0f} s of training"
