"""A benchmark in the terminal: one table a phase, then what was not measured."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import RenderableType
from rich.text import Text

from formers.bench.headline import headline
from formers.bench.phases import TITLES
from formers.bench.summary import BenchSummary
from formers.bench.table import cells, columns
from formers.bench.value_text import place_text, status_text
from formers.plot.fitting_table import FittingColumn, FittingTable
from formers.plot.visible_text import visible


def terminal(summary: BenchSummary) -> Iterator[RenderableType]:
    """Yield what to print, piece by piece. Names are shown as they are, never read as markup."""
    for phase in summary.curves:
        yield _phase_table(summary, phase)
    stopped = [row for row in summary.results.unmeasured if row.status == "stopped"]
    for row in summary.results.unmeasured:
        if row.status == "stopped":
            continue
        yield Text(
            visible(f"not timed: {row.subject} ({place_text(row)}): {status_text(row)}: {row.cause}"), style="dim"
        )
    if stopped:
        yield Text(f"not timed: {len(stopped)} more, stopped before their first round", style="dim")
    for sentence in headline(summary):
        yield Text(visible(sentence))


def _phase_table(summary: BenchSummary, phase: str) -> FittingTable:
    """Return a phase at the largest size; where there is no room, the last columns are left out first."""
    names = columns(summary, phase)
    table = FittingTable(
        title=f"{TITLES[phase]}, at {summary.results.axis} {summary.largest(phase):,}",
        columns=[
            FittingColumn(title=visible(name), text=not index, spare=max(index - 1, 0))
            for index, name in enumerate(names)
        ],
        box=box.SIMPLE_HEAD,
    )
    for curve in summary.curves[phase]:
        table.add_row([visible(cell) for cell in cells(curve, summary)])
    return table
