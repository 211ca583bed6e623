"""The headline, the ranking and the results at other lengths as Markdown, for a pull request."""

from __future__ import annotations

from collections.abc import Iterable

from formers.lab.report.headline import headline
from formers.lab.report.lengths import (
    LengthTable,
    length_cells,
    length_table,
    length_titles,
    lengths_note,
    refusal_text,
)
from formers.lab.report.matching import matching_sentences
from formers.lab.report.ranking import ranking
from formers.lab.report.summarize import summarize
from formers.lab.report.summary import StudySummary
from formers.lab.store.records import Results
from formers.plot.visible_text import visible


def to_markdown(results: Results) -> str:
    """Return the headline, the ranking as a table, what was matched between its arms, and results at other lengths."""
    summary = summarize(results)
    table = ranking(summary)
    lines = [" ".join(map(_escaped, headline(summary))), ""]
    lines += [_markdown_line(_escaped(column.title) for column in table.columns)]
    lines += [_markdown_line("---" if column.text else "--:" for column in table.columns)]
    lines += [_markdown_line(_escaped(cell) for cell in row.cells) for row in table.rows]
    if matched := matching_sentences(summary):
        lines += ["", _escaped(matched)]
    if lengths := length_table(summary):
        lines += ["", *_lengths(summary, lengths)]
    return "\n".join(lines) + "\n"


def _lengths(summary: StudySummary, table: LengthTable) -> list[str]:
    """Return the results at other lengths as a table, with what it means and the reasons of arms below it."""
    lines = [_markdown_line(["arm", *map(_escaped, length_titles(table))])]
    lines += [_markdown_line(["---", *("--:" for _ in table.lengths)])]
    lines += [_markdown_line(map(_escaped, (arm, *length_cells(table, arm, summary.digits)))) for arm in table.values]
    return [*lines, "", _escaped(" ".join([lengths_note(summary), *map(refusal_text, table.refusals)]))]


def _markdown_line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(cell: str) -> str:
    """Return a cell that stays one cell, and in which nothing is markup."""
    cell = visible(cell)
    for character in "\\`*_{}[]<>|#":
        cell = cell.replace(character, "\\" + character)
    return " ".join(cell.split())
