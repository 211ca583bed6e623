"""The ranking in the terminal."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

from rich.console import Console

from formers.lab.report import terminal_table
from formers.lab.store.records import Results

Study = Callable[[int], Results]


def shown(results: Results) -> str:
    """The terminal's table as text."""
    console = Console(width=250, file=io.StringIO(), record=True)
    console.print(terminal_table(results))
    return console.export_text()


def test_the_terminal_shows_the_ranking_the_reference_and_the_failure(study: Study) -> None:
    text = shown(study(3))
    assert text.index("metric") < text.index("softmax") < text.index("bigram") < text.index("identity")
    assert "failed" in text
    assert "1.622 ± 0.032" in text


def with_row(results: Results, **changes: object) -> Results:
    """`results` with its first row changed."""
    return replace(results, rows=(replace(results.rows[0], **changes), *results.rows[1:]))


def test_the_terminal_reads_no_markup_and_no_escapes_in_names(study: Study) -> None:
    assert "[red]x␛[31m" in shown(with_row(study(1), arm="[red]x\x1b[31m"))
