"""The runs of a study as CSV, for spreadsheets."""

from __future__ import annotations

from collections.abc import Sequence

from formers.lab.report.costs import COSTS
from formers.lab.report.lengths import CANNOT
from formers.lab.report.matching import inequalities
from formers.lab.report.search import taken_options
from formers.lab.report.summarize import summarize
from formers.lab.report.summary import StudySummary
from formers.lab.store.records import Results, Row
from formers.plot.csv_file import csv_text


def to_csv(results: Results) -> str:
    """Return one line a run, in full precision: rank, arm, seed, status, every metric, every cost, cause, command.

    Where runs were tested at other lengths, the ranking metric has a column for each, with `cannot` in it where the
    model cannot take the length; the column `cannot` tells why. Options of which arms took one of several values have
    columns, too. The last columns name the study that a run of several merged ones is from, and say in each line why
    ranks may not be compared: `inequalities`.
    """
    return csv_of(summarize(results))


def csv_of(summary: StudySummary) -> str:
    """Return `to_csv` of results that are summarised already."""
    rows = summary.results.rows
    ranks = {arm.name: arm.rank for arm in summary.arms}
    metrics = list(dict.fromkeys(name for row in rows for name in row.metrics))
    costs = [cost.name for cost in COSTS]
    lengths = sorted({result.length for row in rows for result in row.lengths})
    unequal = " ".join(inequalities(summary))
    taken = taken_options(summary)
    lines = []
    for row in rows:
        measured: list[float | str | None] = [
            *(row.metrics.get(name) for name in metrics),
            *(getattr(row, name) for name in costs),
        ]
        measured += _at_lengths(row, lengths, summary.metric.name)
        measured += [row.options.get(name) for name in taken]
        own = [ranks[row.arm], row.arm, row.seed, row.status, *measured, row.cause, row.command]
        lines.append([*own, row.environment.get("study", ""), unequal])
    at_lengths = [f"{summary.metric.name}_at_{length}" for length in lengths]
    at_lengths += ["cannot"] if lengths else []
    names = ["rank", "arm", "seed", "status", *metrics, *costs, *at_lengths]
    names += [f"taken_{name}" for name in taken] + ["cause", "command", "study", "unequal"]
    return csv_text(names, lines)


def _at_lengths(row: Row, lengths: Sequence[int], metric: str) -> list[float | str | None]:
    """Return the ranking metric of a run at each length, and the reasons where it has none; nothing without lengths."""
    if not lengths:
        return []
    found = {result.length: result for result in row.lengths}
    cells = [found[length].metrics.get(metric, CANNOT) if length in found else None for length in lengths]
    return [*cells, "; ".join(f"{it.length}: {it.cannot}" for it in row.lengths if it.cannot)]
