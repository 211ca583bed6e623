"""The runs of a study as CSV, for spreadsheets."""

from __future__ import annotations

from formers.lab.report.costs import COSTS
from formers.lab.report.matching import inequalities
from formers.lab.report.summarize import summarize
from formers.lab.report.summary import StudySummary
from formers.lab.store.records import Results
from formers.plot.csv_file import csv_text


def to_csv(results: Results) -> str:
    """Return one line a run, in full precision: rank, arm, seed, status, every metric, every cost, cause, command.

    The last columns name the study that a run of several merged ones is from, and say in each line why ranks may not be
    compared: `inequalities`.
    """
    return csv_of(summarize(results))


def csv_of(summary: StudySummary) -> str:
    """Return `to_csv` of results that are summarised already."""
    rows = summary.results.rows
    ranks = {arm.name: arm.rank for arm in summary.arms}
    metrics = list(dict.fromkeys(name for row in rows for name in row.metrics))
    costs = [cost.name for cost in COSTS]
    unequal = " ".join(inequalities(summary))
    lines = []
    for row in rows:
        measured = [*(row.metrics.get(name) for name in metrics), *(getattr(row, name) for name in costs)]
        own = [ranks[row.arm], row.arm, row.seed, row.status, *measured, row.cause, row.command]
        lines.append([*own, row.environment.get("study", ""), unequal])
    names = ["rank", "arm", "seed", "status", *metrics, *costs, "cause", "command", "study", "unequal"]
    return csv_text(names, lines)
