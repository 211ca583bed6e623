"""The files of a report in the folder of a study: report.html, report.json, and the bench.json that the page shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from formers.lab.report.html import write_html
from formers.lab.report.json_file import dump
from formers.lab.report.study_results import study_results
from formers.lab.store.records import Results, Row
from formers.lab.study.study import Study

if TYPE_CHECKING:
    from formers.bench.charts.figures import ScalingFigure

HTML, JSON = "report.html", "report.json"


def write_report(
    study: Study, rows: tuple[Row, ...], references: dict[str, float], search: tuple[Row, ...] = ()
) -> Results:
    """Write the report's files into the study's folder, the data first, and return the results in them."""
    results = study_results(study, rows, references, search)
    dump(results, study.folder / JSON)
    write_html(results, study.folder / HTML, bench_figures(study.folder))
    return results


def bench_figures(folder: Path) -> tuple[ScalingFigure, ...]:
    """Return the plots of the benchmark that `formers bench --out <folder>` left in a study's folder; none without one.

    Raises ValueError where bench.json is something else.
    """
    from formers.bench.charts.figures import scaling_figures  # imports torch, which reading a report does not need
    from formers.bench.json_file import NAME, load

    return scaling_figures(load(folder / NAME)) if (folder / NAME).is_file() else ()


def report_path(study: Study) -> Path:
    """Return the path of the report of a study."""
    return study.folder / HTML
