"""Errors of a training as what a row says about them: a status and a cause in one line."""

from __future__ import annotations

import traceback

from formers.lab.store.records import Status
from formers.lab.store.write_error import reporting_write_errors
from formers.lab.train.checkpoint import ForeignCheckpoint
from formers.lab.train.crash_counter import RepeatedCrash
from formers.lab.train.finite import Diverged
from formers.lab.train.job import Job
from formers.machine.files import write_atomically
from formers.machine.memory import is_out_of_memory
from formers.part import Unsupported
from formers.part.error_line import first_line_of, one_line_of
from formers.tasks.checks.task_error import TaskError, raised_by_task

_SELF_EXPLAINING = (TaskError, Unsupported, Diverged, RepeatedCrash, ForeignCheckpoint)


def status_of(error: BaseException) -> Status:
    """Return the status of a row whose training ended with an error: its own, or of what a task's code raised."""
    error = raised_by_task(error)
    if isinstance(error, Unsupported):
        return "unsupported"
    if isinstance(error, Diverged):
        return "diverged"
    return "out_of_memory" if is_out_of_memory(error) else "failed"


def cause_of(error: BaseException) -> str:
    """Return an error in one line, with its type where its message alone does not explain it."""
    return first_line_of(error) if isinstance(error, _SELF_EXPLAINING) else one_line_of(error)


def save_traceback(job: Job, error: BaseException) -> None:
    """Write the traceback of a failed job into the study's folder. Raise WriteError where that is not possible."""
    folder = job.study.folder / "failures"
    with reporting_write_errors("a traceback", folder):
        write_atomically(folder / f"{job.slug}.txt", "".join(traceback.format_exception(error)))
