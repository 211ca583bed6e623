"""Names act nowhere: not in the page, in Markdown, in a spreadsheet, or in the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace

from rich.console import Console

from formers.lab.report import render_html, terminal_table, to_csv, to_markdown
from formers.lab.store.records import Results

Study = Callable[[int], Results]

NASTY = "=1+1 \x1b]0;x\x07\x9b31m\u202e\u2066[/x]"
ACTING = {chr(code) for code in range(0xA0) if code not in range(32, 127)} - {"\n", "\t"}
ACTING |= set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029")


def with_nasty_names(results: Results) -> Results:
    """Everything that has a name, with a nasty one."""
    rows = tuple(
        replace(
            row,
            arm=NASTY + row.arm,
            cause=NASTY,
            samples=(NASTY,),
            command=NASTY,
            choices={NASTY: NASTY + row.arm},
            environment={NASTY: NASTY},
            metrics={**row.metrics, NASTY: 1.0},
        )
        for row in results.rows
    )
    metric = replace(results.metric, label=NASTY, unit=NASTY)
    return replace(results, title=NASTY, description=NASTY, metric=metric, references={NASTY: 2.0}, rows=rows)


def test_no_report_holds_what_a_reader_would_act_on(study: Study) -> None:
    results = with_nasty_names(study(3))
    console = Console(width=250, file=io.StringIO(), record=True)
    console.print(terminal_table(results))
    reports = (render_html(results), to_markdown(results), to_csv(results), console.export_text())
    for text in reports:
        assert not ACTING & set(text)
        assert "[U+202E]" in text.replace("\\", "")


def test_no_name_is_a_formula(study: Study) -> None:
    for line in csv.reader(io.StringIO(to_csv(with_nasty_names(study(3))))):
        assert not [cell for cell in line if cell.startswith("=")]
