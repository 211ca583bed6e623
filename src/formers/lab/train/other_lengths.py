"""Tests of a trained model at other lengths than the trained one: right after its training, or at any time later."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from traceback import walk_tb
from typing import TYPE_CHECKING

from formers.lab.distributed import ranks
from formers.lab.store.records import LengthResult, Row
from formers.lab.train.failures import cause_of
from formers.lab.train.job import Job
from formers.lab.train.progress import Progress
from formers.lab.train.stop import Stop
from formers.lab.train.trained_model import load_trained
from formers.lab.train.undisturbed import undisturbed
from formers.machine.memory import is_out_of_memory
from formers.tasks.checks.task_error import TaskError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def untested_lengths(job: Job, row: Row) -> list[int]:
    """Return the lengths of the job's study that a finished row of it has no result for; none for other rows."""
    known = {result.length for result in row.lengths}
    return [length for length in job.study.tested_lengths if length not in known and row.status == "finished"]


def is_tested_only(job: Job, row: Row) -> bool:
    """Return whether a row was trained before, and only its tests at some lengths are of this job."""
    return job.trained is not None and row.curve == job.trained.curve  # with the seconds, which no other training has


def test_at_lengths(
    job: Job, model: PreTrainedModel, row: Row, progress: Progress, stop: Stop
) -> tuple[LengthResult, ...]:
    """Return the results of a row with those at the lengths that it lacks, from short to long, of its best weights.

    A model that cannot take a length has the reason there. Where a stop is requested, the rest is left out.

    Raises:
        TaskError: where the task's own code fails.
    """
    found, trained = list(row.lengths), job.study.task.length
    missing = untested_lengths(job, row)
    for length in sorted(missing, key=lambda length: length != trained):
        if length == trained:
            found.append(LengthResult(length=length, times=1.0, metrics=dict(row.metrics)))
        elif ranks.any_rank(stop.requested):
            break
        else:
            found.append(_result_at(job, model, length))
            name = job.study.task.metric.name
            measured = {f"test {key} at {length}": value for key, value in found[-1].metrics.items() if key == name}
            progress.measured(job.label, job.budget.steps, measured)
    return tuple(sorted(found, key=lambda result: result.length))


def test_trained(job: Job, progress: Progress, stop: Stop) -> Row | None:
    """Return the row of a job that is trained already, with results at the lengths that it lacked.

    Return None, and tell why, where its model cannot be loaded any more: it has to be trained again.
    """
    if job.trained is None:
        return None
    try:
        with ranks.fail_together():
            model = load_trained(job)
    except (OSError, ValueError) as error:
        progress.note(f"{job.label}: its trained model is gone ({cause_of(error)}), so it is trained again")
        return None
    progress.note(f"{job.label}: trained before; testing at {', '.join(map(str, untested_lengths(job, job.trained)))}")
    lengths = test_at_lengths(job, model, job.trained, progress, stop)
    return replace(job.trained, arm=job.arm.name, lengths=lengths, command=job.empty_row().command)


def _result_at(job: Job, model: PreTrainedModel, length: int) -> LengthResult:
    """Return the result at one length, or why there is none: the model refuses it, or it takes too much memory."""
    times = length / job.study.task.length
    try:
        with ranks.fail_together(), undisturbed():
            metrics = job.task.at_length(length).evaluate(model, "test").metrics
    except ranks.LostRank:
        raise
    except Exception as error:
        if not (_is_out_of_memory(error) or _comes_from(model, error)):
            raise
        return LengthResult(length=length, times=times, cannot=_reason(error))
    if wrong := _not_finite(metrics):
        return LengthResult(length=length, times=times, cannot=wrong)
    return LengthResult(length=length, times=times, metrics=metrics)


def _not_finite(metrics: Mapping[str, float]) -> str:
    """Return which metric is no finite number; empty where all are."""
    return next((f"{name} is {value}" for name, value in metrics.items() if not math.isfinite(value)), "")


def _is_out_of_memory(error: BaseException) -> bool:
    return is_out_of_memory(error) or (error.__cause__ is not None and is_out_of_memory(error.__cause__))


def _comes_from(model: PreTrainedModel, error: BaseException) -> bool:
    """Return whether an error, or what caused it, was raised while the model ran, and not by the task around it."""
    raised = error.__cause__ if isinstance(error, TaskError) and error.__cause__ is not None else error
    return any(frame.f_locals.get("self") is model for frame, _ in walk_tb(raised.__traceback__))


def _reason(error: BaseException) -> str:
    """Return an error of a model in one line; a ValueError explains itself."""
    raised = error.__cause__ if isinstance(error, TaskError) and error.__cause__ is not None else error
    cause = cause_of(raised)
    return cause.partition(": ")[2] if type(raised) is ValueError else cause
