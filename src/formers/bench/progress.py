"""Progress of a benchmark: a bar in a terminal, a few lines elsewhere."""

from __future__ import annotations

from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from formers.plot.visible_text import visible_line


class BenchProgress(Protocol):
    """Hears what happens in a benchmark, in order."""

    def stage(self, text: str) -> None:
        """Hear that something begins that is done once."""

    def begin(self, steps: int) -> None:
        """Hear that the rounds begin: so many steps in all."""

    def step(self, text: str) -> None:
        """Hear that the next step begins."""


class SilentBenchProgress(BenchProgress):
    """Prints nothing."""

    def stage(self, text: str) -> None: ...
    def begin(self, steps: int) -> None: ...
    def step(self, text: str) -> None: ...


class BenchLines(BenchProgress):
    """Prints a line for each round, and for the two stages before them."""

    def __init__(self, console: Console) -> None:
        self.console, self.last = console, ""

    def stage(self, text: str) -> None:
        self._print(text.partition(" of ")[0])

    def begin(self, steps: int) -> None: ...

    def step(self, text: str) -> None:
        self._print(text)

    def _print(self, text: str) -> None:
        if text != self.last:
            self.console.print(Text(visible_line(text)), soft_wrap=True)
        self.last = text


class BenchBar(BenchProgress):
    """Shows the current stage or step, and a bar with the time left once it is known. Use as a context manager."""

    def __init__(self, console: Console) -> None:
        self.bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self.task = self.bar.add_task("starting", total=None)
        self.begun = False

    def __enter__(self) -> BenchBar:
        self.bar.__enter__()
        return self

    def __exit__(self, *reason: object) -> None:
        self.bar.stop()

    def stage(self, text: str) -> None:
        self.bar.update(self.task, description=visible_line(text))

    def begin(self, steps: int) -> None:
        self.bar.reset(self.task, total=steps)

    def step(self, text: str) -> None:
        self.bar.update(self.task, description=visible_line(text), advance=1 if self.begun else 0)
        self.begun = True
