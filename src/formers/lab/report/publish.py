"""From rows to the report's input, and the report's files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from formers.lab.store.records import Results, Row
from formers.lab.study.study import Study

if TYPE_CHECKING:
    from formers.bench.figures import Figure

HTML, JSON = "report.html", "report.json"


def results(study: Study, rows: tuple[Row, ...]) -> Results:
    """Everything that a report shows about a study."""
    task = study.task
    return Results(
        title=str(task).removesuffix("()"),
        description=task.description,
        metric=task.metric,
        rows=rows,
        references=task.references(),
        budget=study.given.words(task.length),
        matched=study.match,
        command=study.command(),
    )


def publish(study: Study, rows: tuple[Row, ...]) -> Results:
    """Writes the report's files into the study's folder, and returns what is in them."""
    from formers.lab.report import dump, write_html  # draws the charts; training does not need them

    found = results(study, rows)
    dump(found, study.place / JSON)
    write_html(found, study.place / HTML, scaling(study.place))
    return found


def scaling(folder: Path) -> tuple[Figure, ...]:
    """The plots of the bench that `formers bench --out <folder>` has left in a study's folder; none without one."""
    from formers.bench.export import JSON as BENCH
    from formers.bench.export import load
    from formers.bench.figures import scaling_figures

    return scaling_figures(load(folder / BENCH)) if (folder / BENCH).is_file() else ()


def report_path(study: Study) -> Path:
    """Where the report of a study is."""
    return study.place / HTML
