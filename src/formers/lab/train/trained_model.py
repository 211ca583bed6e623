"""A trained model: measured on the test split with its best weights, saved, and loaded again."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from formers.lab.distributed import ranks
from formers.lab.distributed.fsdp import shard
from formers.lab.distributed.full_state import load_full_weights
from formers.lab.store.records import Point
from formers.lab.store.write_error import is_about_the_disk, one_line, reporting_write_errors
from formers.lab.train.best_weights import BestWeights
from formers.lab.train.device import device_for, in_precision
from formers.lab.train.finite import check_test
from formers.lab.train.initial_weights import seeded_model
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
    step = job.steps_before + best.restore(model)
    [chosen] = [point for point in curve if point.step == step]
    with undisturbed():
        result = job.task.evaluate(model, "test")
    check_test(job, result.metrics)
    return {
        "chosen_step": step,
        "validation": _validated(chosen),
        "metrics": result.metrics,
        "slices": result.slices,
        "items": result.items,
    }


def validation_of_best(job: Job, curve: tuple[Point, ...]) -> dict[str, Any]:
    """Return what a row says of the best evaluation of a search, which reads no test split."""
    metric = job.study.task.metric
    sign = 1 if metric.lower_is_better else -1
    best = min((point for point in curve if metric.name in point.values), key=lambda it: sign * it.values[metric.name])
    return {"chosen_step": best.step, "validation": _validated(best)}


def _validated(point: Point) -> dict[str, float]:
    return {name: value for name, value in point.values.items() if name != "train_loss"}


def save_model(job: Job, model: PreTrainedModel, weights: dict[str, Tensor]) -> None:
    """Save the trained model, and what is needed to use it, in the study's folder: all of it, or nothing changes.

    Raises:
        WriteError: where it cannot be written.
    """
    folder = job.new_model_folder
    part = folder.with_name(f".{folder.name}.part")
    with reporting_write_errors("the trained model", folder):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        model.save_pretrained(part, state_dict=weights)
        _save_beside(job, part)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(part, folder)


def load_trained(job: Job) -> PreTrainedModel:
    """Return the trained model of a job from the study's folder, ready to be tested, on every rank.

    It computes as it did right after its training: on the study's device and in its precision.

    Raises:
        ValueError: where what is there is no whole model of this job.
        TaskError: where the task cannot make the model any more.
    """
    weights, problem = _read_weights(job.model_folder) if ranks.is_rank0() else ({}, "")
    if problem := ranks.broadcast_from_rank0(problem):  # the others wait for it, whatever rank 0 has found
        raise ValueError(problem)
    device = device_for(job.study.compute)
    model = seeded_model(job.task, job.config, job.seed).to(device)
    if job.study.shard:
        shard(model)
    load_full_weights(model, weights)
    return in_precision(model, device, job.study.compute.precision)


def _read_weights(folder: Path) -> tuple[dict[str, Tensor], str]:
    """Return the weights in the folder of a model, and the problem where they cannot be read."""
    files = sorted(folder.glob("model*.safetensors"))
    try:
        weights = {name: value for file in files for name, value in load_file(file).items()}
    except (OSError, SafetensorError) as error:
        return {}, f"{folder}: the weights cannot be read: {one_line(error)}"
    return weights, "" if files else f"there is no model in {folder}"


def _save_beside(job: Job, folder: Path) -> None:
    """Let the task write beside the model. Raise OSError where the disk is full: that is no fault of the task."""
    try:
        job.task.save(folder)
    except TaskError as error:
        if is_about_the_disk(error.__cause__):
            raise error.__cause__ from None
        raise
