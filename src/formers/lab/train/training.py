"""Training one job, and what is measured on the way: a row, whatever happens."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from formers.lab.distributed import ranks
from formers.lab.distributed.fsdp import shard
from formers.lab.distributed.full_state import full_weights
from formers.lab.store.records import Point, Row, Status
from formers.lab.store.write_error import WriteError
from formers.lab.train.callback import TrainingCallback, curve_points
from formers.lab.train.crash_counter import count_crashes
from formers.lab.train.device import device_for
from formers.lab.train.failures import cause_of, save_traceback, status_of
from formers.lab.train.job import Job
from formers.lab.train.other_lengths import load_finished, test_at_lengths
from formers.lab.train.progress import Progress
from formers.lab.train.resume import find_resume_point
from formers.lab.train.stages import FinishedStage, finished_stage, keep_stage, stage_jobs, starting_model
from formers.lab.train.stop import Stop
from formers.lab.train.trained_model import save_model, test_best_weights, validation_of_best
from formers.lab.train.trainer import SafeTrainer
from formers.lab.train.trainer_setup import make_trainer
from formers.lab.train.undisturbed import undisturbed
from formers.machine.environment import environment
from formers.machine.memory import peak_bytes, reset_peak
from formers.models.costs import on_meta
from formers.models.steps import count_steps

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from formers.models.pretrained import FormersModel


def train_job(job: Job, progress: Progress, stop: Stop) -> Row:
    """Train a job, from its last checkpoint if there is one, test it, and return its row.

    An error becomes a row with its cause. A model that is trained already is not trained again. Tests at other lengths
    come last, on the finished row: they add to it, or say there why not.

    The checkpoints stay until `remove_checkpoints` is called, which is for when the row is safe.

    Raises:
        WriteError: when the disk is full, or something else cannot be written: that is no fact about the arm.
        LostRank: when one of the processes that train together fails alone.
    """
    row, model = load_finished(job, progress) or _train(job, progress, stop)
    return row if model is None else test_at_lengths(job, model, row, progress, stop)


def remove_checkpoints(job: Job) -> None:
    """Remove the checkpoints of a job whose row is kept."""
    shutil.rmtree(job.checkpoint_folder, ignore_errors=True)


def _train(job: Job, progress: Progress, stop: Stop) -> tuple[Row, PreTrainedModel | None]:
    """Return the row of a training, and its model with the best weights where it is finished."""
    compute = job.study.compute
    described = environment(compute.device) | {"processes": ranks.describe_ranks(job.study.shard)} | dict(job.place)
    described |= compute.facts | _describe_segments(job)
    facts: dict[str, Any] = {"environment": described}
    model = None
    try:
        with count_crashes(job.checkpoint_folder) as attempt:
            model = _train_and_test(TrainingCallback(job, progress, stop, attempt), facts)
        status: Status = "finished" if model is not None else "stopped"
        cause = "" if model is not None else f"after {facts['steps']} steps; its checkpoint is kept"
    except (WriteError, ranks.LostRank):
        raise
    except (Exception, SystemExit) as error:  # an arm that fails is a row, not the end of the study
        status, cause = status_of(error), cause_of(error)
        if ranks.is_rank0():
            save_traceback(job, error)
    return replace(job.empty_row(), status=status, cause=cause, **facts), model


def _describe_segments(job: Job) -> dict[str, str]:
    """Return how examples follow each other, for the environment of a row; nothing where they do not."""
    if not job.task.task.is_contiguous:
        return {}
    return {"segments": "contiguous, with the memory" if job.config.memory.carried else "contiguous"}


def _train_and_test(callback: TrainingCallback, facts: dict[str, Any]) -> PreTrainedModel | None:
    """Train, test and save a model, and return it with its best weights; None where it was stopped before its end.

    Fill in facts of its row as they become known: an error keeps those before it.
    """
    job, before = callback.job, None
    device = device_for(job.study.compute)
    measures_peak = reset_peak(device)
    *earlier, last = stage_jobs(job)
    for stage in earlier:
        facts |= {} if facts.get("parameters") else count_costs(_on_meta(job), job.length)
        before = finished_stage(stage) or _train_stage(callback.of_stage(stage), before, facts)
        if before is None:
            return None
    callback = callback.of_stage(last) if earlier else callback
    model = starting_model(last, before)
    facts |= count_costs(model, job.length)
    try:
        is_finished = _run(callback, model, before, facts)
    finally:
        facts["peak_bytes"] = peak_bytes(device) if measures_peak else None
        if device != "cpu":
            facts["tensor_bytes"] = facts["peak_bytes"]
    if is_finished:
        _test_and_save(job, callback, model, facts)
        return model
    return None


def _train_stage(
    callback: TrainingCallback, before: FinishedStage | None, facts: dict[str, Any]
) -> FinishedStage | None:
    """Train a stage before the last, and keep it; None where it was stopped before its end."""
    job, model = callback.job, starting_model(callback.job, before)
    callback.progress.note(f"{job.label}: a stage of {job.budget.describe(job.length)}")
    return keep_stage(job, model, facts["curve"]) if _run(callback, model, before, facts) else None


def _run(
    callback: TrainingCallback, model: PreTrainedModel, before: FinishedStage | None, facts: dict[str, Any]
) -> bool:
    """Train a model, and return whether it came to its end; False where it was asked to stop."""
    job = callback.job
    if job.study.shard:
        shard(model)
    trainer = make_trainer(job, model, callback)
    start = find_resume_point(callback).path
    try:
        with ranks.fail_together():
            trainer.train(resume_from_checkpoint=ranks.broadcast_from_rank0(str(start) if start else None))
    finally:
        facts |= _progress_facts(job, trainer, () if before is None else before.curve)
    done = trainer.state.global_step
    if done < job.budget.steps and not callback.is_stopped:
        raise RuntimeError(
            f"its training ended after {done} of {job.budget.steps} steps, and nobody asked it to stop; did its data "
            "end?"
        )
    return done == job.budget.steps


def _test_and_save(job: Job, callback: TrainingCallback, model: PreTrainedModel, facts: dict[str, Any]) -> None:
    """Test the model with its best weights and save it. The callback is that of the job's last stage."""
    if job.is_search:
        own = tuple(point for point in facts["curve"] if point.step > callback.job.steps_before)
        facts |= validation_of_best(callback.job, own)
        return
    with ranks.fail_together():  # a model that is sharded over the ranks runs on all of them, or on none
        with count_steps(model) as taken:
            facts |= test_best_weights(callback.job, model, callback.best_weights, facts["curve"])
        facts |= _costs_taken(job, taken.mean)
        weights = full_weights(model)
    if ranks.is_rank0():
        save_model(job, model, weights)
    with ranks.fail_together(), undisturbed():  # last: where a task's own code fails here, the model is kept
        facts["samples"] = job.task.samples(model)
        facts["pictures"] = job.task.pictures(model)


def count_costs(model: FormersModel, length: int) -> dict[str, Any]:
    """Return the costs of a model that a row holds, at examples of `length` tokens; they are known before it trains."""
    counted = on_meta(model)
    return {
        "parameters": model.num_parameters(),
        "flops_per_token": counted.flops_per_token(length),
        "state_bytes_per_token": counted.state_bytes_per_token(length),
        "state_bytes": counted.state_bytes(length),
    }


def _costs_taken(job: Job, steps: float | None) -> dict[str, Any]:
    """Return the costs of a trained model whose tokens take so many steps on average; none where they cannot differ."""
    if steps is None:
        return {}
    return {"steps_per_token": steps, "flops_per_token_taken": _on_meta(job).flops_per_token(job.length, steps)}


def _on_meta(job: Job) -> FormersModel:
    """Return the job's model without data."""
    with torch.device("meta"):
        return job.task.model(job.config).eval()


def _progress_facts(job: Job, trainer: SafeTrainer, earlier: tuple[Point, ...]) -> dict[str, Any]:
    """Return how far the training came, and how fast, with the curve of the stages before it."""
    seconds_before = earlier[-1].seconds if earlier else 0.0
    points = (
        *earlier,
        *(
            replace(point, step=job.steps_before + point.step, seconds=seconds_before + point.seconds)
            for point in curve_points(trainer.state.log_history)
        ),
    )
    seconds = points[-1].seconds if points else 0.0
    steps = job.steps_before + trainer.state.global_step
    tokens = steps * job.budget.batch_size * job.length
    speed = tokens / seconds if seconds > 0 else 0.0
    return {
        "curve": points,
        "steps": steps,
        "train_seconds": seconds,
        "tokens_per_second": speed,
        "tensor_bytes": trainer.step_memory.bytes,
    }
