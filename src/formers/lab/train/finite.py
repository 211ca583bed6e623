"""Numbers that are not finite: of a training that diverged, or of a task whose own evaluation has no number to give."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from formers.lab.distributed import ranks
from formers.lab.train.initial_weights import seeded_model
from formers.lab.train.undisturbed import undisturbed
from formers.machine.memory import is_out_of_memory
from formers.tasks.checks.task_error import raised_by_task, wrong_result

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from formers.lab.train.job import Job


class Diverged(ArithmeticError):
    """The loss or a metric is no longer a finite number."""


def check_finite(values: Mapping[str, float], step: int) -> None:
    """Raise Diverged where a value, measured after `step` steps, is not a finite number."""
    if wrong := first_not_finite(values):
        raise Diverged(f"{wrong} is {values[wrong]} after {step} steps; try a lower learning rate or a longer warmup")


def check_validation(job: Job, model: PreTrainedModel, values: Mapping[str, float], step: int) -> None:
    """Raise for a validation metric that is not finite, measured on `model` after `step` steps.

    Raises:
        TaskError: where it is not finite for a model that has not been trained either: the task has nothing to measure.
        Diverged: otherwise.
    """
    wrong = first_not_finite(values)
    if wrong and not job.study.shard and _is_never_finite(job, model, wrong):
        raise wrong_result(
            job.task.task,
            "evaluate",
            f"measured {wrong} {values[wrong]} on the validation split, and so it does on a model that has not been "
            "trained; is the split empty, or a number divided by 0?",
        )
    check_finite(values, step)


def check_test(job: Job, values: Mapping[str, float]) -> None:
    """Raise TaskError for a test metric that is not finite; those on the validation split are."""
    if wrong := first_not_finite(values):
        raise wrong_result(
            job.task.task,
            "evaluate",
            f"measured {wrong} {values[wrong]} on the test split, of a model whose metrics on the validation split are "
            "finite; is the test split empty, or different?",
        )


def first_not_finite(values: Mapping[str, float]) -> str | None:
    """Return the name of the first value that is not a finite number; None where all are."""
    return next((name for name, value in values.items() if not math.isfinite(value)), None)


def _is_never_finite(job: Job, model: PreTrainedModel, name: str) -> bool:
    """Return whether a metric is not finite for a new model either, on rank 0; False where it has no room for one."""
    value = 0.0
    try:
        with undisturbed():
            new = seeded_model(job.task, job.config, job.seed).to(model.device)
            value = job.task.evaluate(new, "validation").metrics.get(name, 0.0)
    except Exception as error:
        if not is_out_of_memory(raised_by_task(error)):
            raise
    return not math.isfinite(ranks.broadcast_from_rank0(value))  # outside the block: every rank has to come here
