"""Tests of a trained model at other lengths than the trained one: right after its training, or at any time later."""

from __future__ import annotations

from dataclasses import replace
from traceback import walk_tb
from typing import TYPE_CHECKING

from formers.lab.distributed import ranks
from formers.lab.store.records import LengthResult, Row
from formers.lab.store.write_error import WriteError
from formers.lab.train.crash_counter import RepeatedCrash, count_crashes
from formers.lab.train.failures import cause_of, save_traceback
from formers.lab.train.finite import first_not_finite
from formers.lab.train.job import Job
from formers.lab.train.progress import Progress
from formers.lab.train.stop import Stop
from formers.lab.train.trained_model import load_trained
from formers.lab.train.undisturbed import undisturbed
from formers.machine.environment import environment
from formers.machine.memory import is_out_of_memory
from formers.part.error_line import first_line_of
from formers.tasks.checks.task_error import TaskError, raised_by_task

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_CRASHED = "its process died each time that it was tested: was it killed, or is there too little memory?"


def untested_lengths(job: Job, row: Row) -> list[int]:
    """Return the lengths of the job's study that a finished row of it has no result for; none for other rows."""
    if job.is_search:
        return []
    known = {result.length for result in row.lengths}
    return [length for length in job.study.tested_lengths if length not in known and row.status == "finished"]


def test_at_lengths(job: Job, model: PreTrainedModel, row: Row, progress: Progress, stop: Stop) -> Row:
    """Return a finished row with results at the lengths that it lacks, measured with its best weights in the model.

    Where a test fails, whoever is to blame, the reason is there: no test costs a row what its training found. Where a
    stop is requested, the rest is left out.

    Raises:
        WriteError: where the disk is full.
        LostRank: where one of the processes that test together fails alone.
    """
    name = job.study.task.metric.name
    for length in untested_lengths(job, row):
        if length == job.length:
            row = _with_own_length(row, length)
        elif not ranks.any_rank(stop.requested):
            result = _result_at(job, model, length)
            row = _with_result(row, result)
            measured = {f"test {key} at {length}": value for key, value in result.metrics.items() if key == name}
            progress.measured(job.label, job.budget.steps, measured)
    return row


def load_finished(job: Job, progress: Progress) -> tuple[Row, PreTrainedModel | None] | None:
    """Return the row of a job that is trained already, and its model; None where it has to be trained.

    Where its model cannot be loaded any more, it has to be trained again; that is told. Where the model is whole and
    still cannot be made, there is none, and its row has the reason at each length.
    """
    if job.trained is None:
        return None
    row = _known_row(job, job.trained)
    try:
        with ranks.fail_together():
            model = load_trained(job)
    except ranks.LostRank:
        raise
    except Exception as error:
        if isinstance(error, ValueError) and not isinstance(error, TaskError):
            progress.note(f"{job.label}: its trained model is gone ({cause_of(error)}), so it is trained again")
            return None
        row = _with_own_length(row, job.length)
        for length in untested_lengths(job, row):
            row = _with_result(row, _no_result(job, length, error))
        return row, None
    progress.note(f"{job.label}: trained before; testing at {', '.join(map(str, untested_lengths(job, row)))}")
    return row, model


def row_of_lost_process(job: Job, cause: str) -> Row:
    """Return the row of a job whose process ended before it sent one: failed, and tried again by the next start.

    That of a model that is trained already stays finished, with the cause at each length that was not tested.
    """
    if job.trained is None:
        described = environment(job.study.compute.device) | dict(job.place)
        kept = f"{cause}; its last checkpoint is kept"
        return replace(job.empty_row(), status="failed", cause=kept, environment=described)
    row = _with_own_length(_known_row(job, job.trained), job.length)
    for length in untested_lengths(job, row):
        row = _with_result(row, _without_result(job, length, cause))
    return row


def _known_row(job: Job, before: Row) -> Row:
    """Return a row from before under the arm's present name and command."""
    return replace(before, arm=job.arm.name, command=job.empty_row().command)


def _with_own_length(row: Row, length: int) -> Row:
    """Return the row with its metrics as the result at the trained length."""
    if any(result.length == length for result in row.lengths):
        return row
    return _with_result(row, LengthResult(length=length, times=1.0, metrics=dict(row.metrics)))


def _with_result(row: Row, result: LengthResult) -> Row:
    """Return the row with one more result, from short to long."""
    return replace(row, lengths=tuple(sorted((*row.lengths, result), key=lambda result: result.length)))


def _result_at(job: Job, model: PreTrainedModel, length: int) -> LengthResult:
    """Return the result at one length, or why there is none."""
    try:
        with (
            count_crashes(job.checkpoint_folder / f"length-{length}"),
            ranks.fail_together(),
            undisturbed(),
        ):
            metrics = job.task.at_length(length).evaluate(model, "test").metrics
    except (WriteError, ranks.LostRank):
        raise
    except (Exception, SystemExit) as error:  # no reason to lose what the training found
        return _no_result(job, length, error, model)
    if wrong := first_not_finite(metrics):
        return _without_result(job, length, f"{wrong} is {metrics[wrong]}")
    return LengthResult(length=length, times=length / job.length, metrics=metrics)


def _without_result(job: Job, length: int, cannot: str) -> LengthResult:
    return LengthResult(length=length, times=length / job.length, cannot=cannot)


def _no_result(job: Job, length: int, error: BaseException, model: PreTrainedModel | None = None) -> LengthResult:
    """Return the reason for no result: what the model refuses, too little memory, or a fault, with its traceback."""
    if isinstance(error, RepeatedCrash):
        return _without_result(job, length, _CRASHED)
    raised = raised_by_task(error)
    if is_out_of_memory(raised) or _comes_from(model, raised):
        explains_itself = type(raised) is ValueError
        return _without_result(job, length, first_line_of(raised) if explains_itself else cause_of(raised))
    if ranks.is_rank0():
        save_traceback(job, error)
    return _without_result(job, length, cause_of(error))


def _comes_from(model: PreTrainedModel | None, error: BaseException) -> bool:
    """Return whether an error was raised while the model ran, and not by the task around it."""
    frames = walk_tb(error.__traceback__) if model is not None else ()
    return any(frame.f_locals.get("self") is model for frame, _ in frames)
