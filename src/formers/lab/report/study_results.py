"""From a study and its rows to everything that a report shows."""

from __future__ import annotations

from formers.lab.store.records import Results, Row
from formers.lab.study.command_line import study_command
from formers.lab.study.cost_limits import COST_OF
from formers.lab.study.study import Study


def study_results(
    study: Study, rows: tuple[Row, ...], references: dict[str, float], search: tuple[Row, ...] = ()
) -> Results:
    """Return everything that a report shows about a study with these rows, its task's references, and its search."""
    task = study.task
    return Results(
        title=str(task).removesuffix("()"),
        description=task.description,
        metric=task.metric,
        rows=rows,
        references=references,
        budget=study.budget.describe(task.length, study.search),
        matched=study.match,
        command=study_command(study),
        search=search,
        under={COST_OF[name]: limit for name, limit in study.space.under.items()} if study.space else {},
        at_other_lengths=task.at_other_lengths if any(row.lengths for row in rows) else "",
    )
