"""Telling how a study goes: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.table import Table

from formers.lab.store.records import Row

_BAR = 24


class Progress(Protocol):
    """Told what happens in a study. Several arms may be running at once; their labels tell them apart."""

    def begin(self, label: str, steps: int) -> None: ...
    def step(self, label: str, done: int) -> None: ...
    def measured(self, label: str, done: int, values: dict[str, float]) -> None: ...
    def end(self, row: Row, label: str) -> None: ...
    def note(self, text: str) -> None: ...


class Silent:
    """Tells nothing."""

    def begin(self, label: str, steps: int) -> None: ...
    def step(self, label: str, done: int) -> None: ...
    def measured(self, label: str, done: int, values: dict[str, float]) -> None: ...
    def end(self, row: Row, label: str) -> None: ...
    def note(self, text: str) -> None: ...


@dataclass
class _Running:
    """How far one arm is."""

    steps: int
    values: dict[str, float] = field(default_factory=dict)
    now: int = 0
    first: int | None = None
    "The first step that was heard of: a resumed arm does not start at 0."
    since: float = 0.0

    def step(self, done: int) -> None:
        if self.first is None:
            self.first, self.since = done, time.perf_counter()
        self.now = done

    def left(self) -> str:
        """Minutes and seconds to the end, at the pace so far."""
        if self.first is None or self.now <= self.first:
            return ""
        seconds = (time.perf_counter() - self.since) / (self.now - self.first) * (self.steps - self.now)
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d} left"


class Lines:
    """One line when an arm begins, at each of its evaluations, and when it ends."""

    def __init__(self, console: Console) -> None:
        self.console, self.running = console, dict[str, _Running]()

    def begin(self, label: str, steps: int) -> None:
        self.running[label] = _Running(steps)
        self.say(f"{label}: {steps} steps")

    def step(self, label: str, done: int) -> None: ...

    def measured(self, label: str, done: int, values: dict[str, float]) -> None:
        arm = self.running[label]
        arm.values |= values
        if set(values) - {"train_loss"}:
            self.say(f"{label}: step {done}/{arm.steps}, {_numbers(arm.values)}")

    def end(self, row: Row, label: str) -> None:
        self.running.pop(label, None)
        self.say(f"{label}: {_outcome(row)}")

    def note(self, text: str) -> None:
        self.say(text)

    def say(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)


class Bars:
    """A live table: for each arm a bar, its latest numbers and the time left. Use as a context manager."""

    def __init__(self, console: Console) -> None:
        self.done: list[tuple[str, str, str]] = []
        self.running: dict[str, _Running] = {}
        self.live = Live(console=console, refresh_per_second=4, transient=True, get_renderable=self.table)

    def __enter__(self) -> Bars:
        self.live.__enter__()
        return self

    def __exit__(self, *reason: object) -> None:
        self.live.stop()

    def begin(self, label: str, steps: int) -> None:
        self.running[label] = _Running(steps)

    def step(self, label: str, done: int) -> None:
        self.running[label].step(done)

    def measured(self, label: str, done: int, values: dict[str, float]) -> None:
        self.running[label].values |= values

    def end(self, row: Row, label: str) -> None:
        self.running.pop(label, None)
        self.done.append((label, "█" * _BAR if row.status == "finished" else row.status, _outcome(row)))

    def note(self, text: str) -> None:
        self.live.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for row in self.done:
            table.add_row(*row)
        for label, arm in [*self.running.items()]:  # drawn in a thread of its own
            filled = _BAR * arm.now // max(1, arm.steps)
            table.add_row(label, "█" * filled + "░" * (_BAR - filled), _numbers(arm.values), arm.left())
        return table


def _numbers(values: dict[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in values.items())


def _outcome(row: Row) -> str:
    """How an arm ended, in a line."""
    if row.status != "finished":
        return f"{row.status.replace('_', ' ')}: {row.cause}"
    return f"{_numbers(row.metrics)}, {row.train_seconds:.0f} s of training"
