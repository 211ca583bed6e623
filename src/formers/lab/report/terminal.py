"""The tables of a report in the terminal."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from formers.lab.report.headline import headline
from formers.lab.report.lengths import length_cells, length_table, length_titles, lengths_note, refusal_text
from formers.lab.report.matching import matching_sentences
from formers.lab.report.ranking import ranking
from formers.lab.report.summarize import summarize
from formers.lab.report.summary import StudySummary
from formers.lab.store.records import Results
from formers.plot.visible_text import visible


def terminal_report(results: Results) -> tuple[Table | Text, ...]:
    """Return what `rich` prints of a report: the ranking, and the results at other lengths where there are some."""
    summary = summarize(results)
    return _ranking_table(summary), *_lengths(summary)


def terminal_table(results: Results) -> Table:
    """Return the ranking as a `rich` table, the headline below it. Names are never read as markup."""
    return _ranking_table(summarize(results))


def _ranking_table(summary: StudySummary) -> Table:
    shown = ranking(summary)
    table = Table(
        title=Text(visible(summary.results.title)),
        caption=Text(visible(f"{' '.join(headline(summary))} {matching_sentences(summary)}".strip())),
        caption_justify="left",
    )
    for column in shown.columns:
        table.add_column(
            Text(visible(column.title)), justify="left" if column.text else "right", no_wrap=not column.text
        )
    for row in shown.rows:
        style = "italic dim" if row.arm is None else "dim" if row.arm.rank is None else ""
        table.add_row(*(Text(visible(cell)) for cell in row.cells), style=style)
    return table


def _lengths(summary: StudySummary) -> tuple[Table | Text, ...]:
    """Return the results at other lengths as a table, and what explains it; nothing where there are none."""
    if (found := length_table(summary)) is None:
        return ()
    table = Table(title="At other lengths")
    table.add_column("arm")
    for title in length_titles(found):
        table.add_column(Text(title), justify="right", no_wrap=True)
    for arm in found.values:
        cells = (arm, *length_cells(found, arm, summary.digits))
        table.add_row(*(Text(visible(cell)) for cell in cells))
    notes = [lengths_note(summary), *map(refusal_text, found.refusals)]
    return table, Text(visible("\n".join(notes)), style="italic dim")
