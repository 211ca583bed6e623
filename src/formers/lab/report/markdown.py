"""The headline and the ranking as Markdown, for a pull request."""

from __future__ import annotations

from collections.abc import Iterable

from formers.lab.report.headline import headline
from formers.lab.report.matching import matching_sentences
from formers.lab.report.ranking import ranking
from formers.lab.report.summarize import summarize
from formers.lab.store.records import Results
from formers.plot.visible_text import visible


def to_markdown(results: Results) -> str:
    """Return the headline, the ranking as a table, and what was matched between its arms."""
    summary = summarize(results)
    table = ranking(summary)
    lines = [" ".join(map(_escaped, headline(summary))), ""]
    lines += [_markdown_line(_escaped(column.title) for column in table.columns)]
    lines += [_markdown_line("---" if column.text else "--:" for column in table.columns)]
    lines += [_markdown_line(_escaped(cell) for cell in row.cells) for row in table.rows]
    if matched := matching_sentences(summary):
        lines += ["", _escaped(matched)]
    return "\n".join(lines) + "\n"


def _markdown_line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(cell: str) -> str:
    """Return a cell that stays one cell, and in which nothing is markup."""
    cell = visible(cell)
    for character in "\\`*_{}[]<>|#":
        cell = cell.replace(character, "\\" + character)
    return " ".join(cell.split())
