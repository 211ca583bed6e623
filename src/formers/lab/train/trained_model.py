"""A trained model: measured on the test split with its best weights, and saved."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from formers.lab.store.records import Point
from formers.lab.store.write_error import is_about_the_disk, reporting_write_errors
from formers.lab.train.best_weights import BestWeights
from formers.lab.train.finite import check_test
from formers.lab.train.job import Job
from formers.lab.train.undisturbed import undisturbed
from formers.tasks.checks.task_error import TaskError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def test_best_weights(job: Job, model: PreTrainedModel, best: BestWeights, curve: tuple[Point, ...]) -> dict[str, Any]:
    """Load the best weights into the model, and return what a row says of them: metrics on both splits, slices, items.

    This is the only time that the test split is read.

    Raises:
        TaskError: where the task returns something else than metrics, or one that is not finite.
    """
    step = best.restore(model)
    [chosen] = [point for point in curve if point.step == step]
    with undisturbed():
        result = job.task.evaluate(model, "test")
    check_test(job, result.metrics)
    return {
        "chosen_step": step,
        "validation": {name: value for name, value in chosen.values.items() if name != "train_loss"},
        "metrics": result.metrics,
        "slices": result.slices,
        "items": result.items,
    }


def save_model(job: Job, model: PreTrainedModel, weights: dict[str, Tensor]) -> None:
    """Save the trained model, and what is needed to use it, in the study's folder: all of it, or nothing changes.

    Raises:
        WriteError: where it cannot be written.
    """
    part = job.model_folder.with_name(f".{job.slug}.part")
    with reporting_write_errors("the trained model", job.model_folder):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        model.save_pretrained(part, state_dict=weights)
        _save_beside(job, part)
        shutil.rmtree(job.model_folder, ignore_errors=True)
        os.replace(part, job.model_folder)


def _save_beside(job: Job, folder: Path) -> None:
    """Let the task write beside the model. Raise OSError where the disk is full: that is no fault of the task."""
    try:
        job.task.save(folder)
    except TaskError as error:
        if is_about_the_disk(error.__cause__):
            raise error.__cause__ from None
        raise
