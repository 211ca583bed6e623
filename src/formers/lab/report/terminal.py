"""The tables of a report in the terminal."""

from __future__ import annotations

from rich.text import Text

from formers.lab.report.headline import headline
from formers.lab.report.lengths import length_cells, length_table, length_titles, lengths_note, refusal_text
from formers.lab.report.matching import matching_sentences
from formers.lab.report.ranking import ranking
from formers.lab.report.summarize import summarize
from formers.lab.report.summary import StudySummary
from formers.lab.store.records import Results
from formers.plot.fitting_table import FittingColumn, FittingTable
from formers.plot.visible_text import visible


def terminal_report(results: Results) -> tuple[FittingTable | Text, ...]:
    """Return what `rich` prints of a report: the ranking, and the results at other lengths where there are some."""
    summary = summarize(results)
    return _ranking_table(summary), *_lengths(summary)


def terminal_table(results: Results) -> FittingTable:
    """Return the ranking as `rich` prints it, the headline below it. Names are never read as markup."""
    return _ranking_table(summarize(results))


def _ranking_table(summary: StudySummary) -> FittingTable:
    shown = ranking(summary)
    table = FittingTable(
        columns=[
            FittingColumn(title=visible(column.title), text=column.text, spare=column.spare) for column in shown.columns
        ],
        title=visible(summary.results.title),
        caption=visible(f"{' '.join(headline(summary))} {matching_sentences(summary)}".strip()),
    )
    for row in shown.rows:
        style = "italic dim" if row.arm is None else "dim" if row.arm.rank is None else ""
        table.add_row([visible(cell) for cell in row.cells], style)
    return table


def _lengths(summary: StudySummary) -> tuple[FittingTable | Text, ...]:
    """Return the results at other lengths as a table, and what explains it; nothing where there are none."""
    if (found := length_table(summary)) is None:
        return ()
    columns = [FittingColumn(title=title) for title in length_titles(found)]
    table = FittingTable(title="At other lengths", columns=[FittingColumn(title="arm", text=True), *columns])
    for arm in found.values:
        table.add_row([visible(cell) for cell in (arm, *length_cells(found, arm, summary.digits))])
    notes = [lengths_note(summary), *map(refusal_text, found.refusals)]
    return table, Text(visible("\n".join(notes)), style="italic dim")
