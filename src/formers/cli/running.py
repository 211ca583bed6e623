"""Running a study from the command line: progress, table, and where the report is."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.text import Text

from formers.cli.console import table_console
from formers.machine.garbage import lasting_imports
from formers.plot.visible_text import visible_line

if TYPE_CHECKING:
    from formers.lab.executors.executor import Executor
    from formers.lab.study.study import Study


def run_and_show(study: Study, executor: Executor | None = None, track: str | None = None) -> None:
    """Run a study, print its table and the path of its report. Exit with 1 if no arm finished.

    Arms train one after the other, or where the executor says. At the end rows are copied to the tracker, if one is
    given.
    """
    with lasting_imports():
        from formers.lab.distributed.ranks import is_rank0
        from formers.lab.report import terminal_report
        from formers.lab.report.study_files import report_path
        from formers.lab.run_study import run
        from formers.lab.store.trackers import check_tracker, export
        from formers.lab.train.progress import Bars, Lines

    if track:
        check_tracker(track)
    quiet = not is_rank0()  # of processes that train together, one speaks
    console = table_console(quiet=quiet)
    say = nullcontext(Lines(console)) if not console.is_terminal else Bars(console)
    with say as progress:
        results = run(study, progress, executor)
    for part in terminal_report(results):
        console.print(part)
    print_path("report", report_path(study).resolve())
    if track and is_rank0():
        export(results, track, study.folder)
    if all(row.status != "finished" for row in results.rows):
        raise typer.Exit(1)


def print_path(what: str, path: Any) -> None:
    """Print a line with a path that can be copied: never wrapped or cut."""
    from formers.lab.distributed.ranks import is_rank0

    Console(soft_wrap=True, quiet=not is_rank0()).print(Text(visible_line(f"{what}: {path}")))
