"""A benchmark in the terminal."""

from __future__ import annotations

from dataclasses import replace

from rich.console import Console

from formers.bench.results import BenchResults, Measurement
from formers.bench.summarize import summarize
from formers.bench.terminal import terminal


def printed(bench: BenchResults) -> str:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    for piece in terminal(summarize(bench)):
        console.print(piece)
    return console.export_text()


def test_the_terminal_says_it_plainly(crossing: BenchResults) -> None:
    refused = Measurement(
        subject="[bold]x[/bold]", kind="mixer", status="refused", cause="cannot_see_the_future: it moved"
    )
    text = printed(replace(crossing, rows=(*crossing.rows, refused)))
    assert "“linear” is the fastest mixer at length 2,048" in text
    assert "from 700 (700–700)" in text
    assert "not timed: [bold]x[/bold] (everywhere): refused: cannot_see_the_future: it moved" in text
    assert "The machine was steady" in text


def test_a_noisy_machine_is_called_noisy(crossing: BenchResults) -> None:
    shaky = tuple(replace(row, yardstick=(0.01, 0.02, 0.01, 0.02, 0.01, 0.02, 0.01)) for row in crossing.rows)
    assert "too noisy" in printed(replace(crossing, rows=shaky))
