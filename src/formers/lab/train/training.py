"""Training one job, and what is measured on the way: a row, whatever happens."""

from __future__ import annotations

import os
import shutil
import traceback
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from transformers import PrinterCallback, TrainingArguments
from transformers.utils.logging import disable_progress_bar

from formers.lab.distributed import ranks
from formers.lab.distributed.fsdp import shard
from formers.lab.distributed.full_state import weights_of
from formers.lab.plan.job import Job
from formers.lab.store.records import Point, Row, Status
from formers.lab.store.write_error import WriteError, writing
from formers.lab.train.best_weights import Best
from formers.lab.train.callback import Diverged, Watch, check_finite, curve
from formers.lab.train.checkpoint import Foreign, Found, newest, seal
from formers.lab.train.crash_counter import Died, attempt
from formers.lab.train.initial_weights import seeded_model
from formers.lab.train.progress import Progress
from formers.lab.train.stop import Stop
from formers.lab.train.trainer import SafeTrainer
from formers.machine.environment import environment
from formers.machine.memory import memory_ran_out, peak_bytes, start_peak
from formers.models.costs import on_meta
from formers.part import Unsupported

if TYPE_CHECKING:
    from transformers import PreTrainedModel, Trainer

    from formers.models.pretrained import FormersModel

_LOGS = 50  # points of training loss on a curve
_SAVES = 4  # checkpoints along a training; what is lost by a power cut is a quarter of an arm


def train(job: Job, progress: Progress, stop: Stop) -> Row:
    """Trains a job, from its last checkpoint if there is one. What goes wrong with the arm becomes a row with its cause.

    The checkpoints stay until `forget` is called, which is for when the row is safe.

    Raises:
        WriteError: when the disk is full, or something else cannot be written: that says nothing about the arm.
    """
    facts: dict[str, Any] = {"environment": environment() | {"processes": ranks.described(job.study.shard)}}
    try:
        with attempt(job.checkpoints) as current:
            _measure(job, Watch(job, progress, stop, current), facts)
        status: Status = "finished" if facts["steps"] == job.budget.steps else "stopped"
        cause = "" if status == "finished" else f"after {facts['steps']} steps; its checkpoint is kept"
    except (WriteError, ranks.LostRank):
        raise
    except Exception as error:  # an arm that fails is a row, not the end of the study
        status, cause = _status_of(error), _cause_of(error)
        if ranks.is_rank0():
            note(job, error)
    return replace(job.row(), status=status, cause=cause, **facts)


def forget(job: Job) -> None:
    """Removes the checkpoints of a job whose row is kept."""
    shutil.rmtree(job.checkpoints, ignore_errors=True)


def _measure(job: Job, watch: Watch, facts: dict[str, Any]) -> None:
    """Trains and fills in the facts of the row as they become known, so that a failure keeps those before it."""
    can_measure_peak = start_peak()
    task = job.study.task
    model = seeded_model(task, job.config, job.seed)
    facts |= costs(cast("FormersModel", model), task.length)
    if job.study.shard:
        shard(model)
    trainer = _make_trainer(job, model, watch)
    start = _resume_point(watch)
    try:
        with ranks.fail_together():
            trainer.train(resume_from_checkpoint=ranks.broadcast_from_rank0(str(start.path) if start.path else None))
    finally:
        facts |= _progress_facts(job, trainer)
        facts["peak_bytes"] = peak_bytes() if can_measure_peak else None
    if facts["steps"] < job.budget.steps:
        return
    with ranks.fail_together():  # a model that is spread over the ranks runs on all of them, or on none
        facts |= _judge(job, model, watch.best, facts["curve"])
        facts["samples"] = task.samples(model)
        weights = weights_of(model)
    if ranks.is_rank0():
        save(job, model, weights)


def costs(model: FormersModel, length: int) -> dict[str, Any]:
    """What is known about a model before it trains."""
    counted = on_meta(model)
    return {
        "parameters": model.num_parameters(),
        "flops_per_token": counted.flops_per_token(length),
        "state_bytes_per_token": counted.state_bytes_per_token(length),
        "state_bytes": counted.state_bytes(length),
    }


def _judge(job: Job, model: PreTrainedModel, best: Best, points: tuple[Point, ...]) -> dict[str, Any]:
    """Takes the weights that did best on the validation split, and measures them on the test split: the only time it is read."""
    step = best.restore(model)
    [chosen] = [point for point in points if point.step == step]
    result = job.study.task.evaluate(model, "test")
    check_finite(result.metrics, step)
    return {
        "chosen_step": step,
        "validation": {name: value for name, value in chosen.values.items() if name != "train_loss"},
        "metrics": result.metrics,
        "slices": result.slices,
        "items": result.items,
    }


def _make_trainer(job: Job, model: PreTrainedModel, watch: Watch) -> Trainer:
    """Hugging Face's trainer, with the data in order and no reports of its own."""
    disable_progress_bar()  # one for each checkpoint that is written
    budget = job.budget
    arguments = TrainingArguments(
        output_dir=str(job.checkpoints),
        max_steps=budget.steps,
        per_device_train_batch_size=ranks.share(budget.batch_size),
        learning_rate=budget.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=round(budget.warmup * budget.steps),
        weight_decay=budget.weight_decay,
        max_grad_norm=budget.clip,
        seed=job.seed,
        train_sampling_strategy="sequential",  # the dataset itself is in random order, the same for every arm
        logging_steps=max(1, budget.steps // _LOGS),
        logging_nan_inf_filter=False,  # it would report a diverged loss as the last good one
        save_steps=max(1, budget.steps // _SAVES),
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        **_across_ranks(),
    )
    data = job.study.task.build(job.seed, budget.steps * budget.batch_size)
    trainer = SafeTrainer(model=model, args=arguments, train_dataset=data, callbacks=[watch])
    trainer.seal = partial(seal, job=job.fingerprint, sharded=job.study.shard)
    trainer.remove_callback(PrinterCallback)
    return trainer


def _across_ranks() -> dict[str, Any]:
    """What the trainer has to be told where several ranks train together. Rank r of R takes the r-th R-th of each batch."""
    if ranks.world_size() == 1:
        return {}
    on_cpu = not torch.cuda.is_available()
    backend = {"use_cpu": True, "ddp_backend": "gloo"} if on_cpu else {"ddp_backend": "nccl"}
    return backend | {"ddp_find_unused_parameters": False}  # every part trains all of its parameters: a law


def _progress_facts(job: Job, trainer: Trainer) -> dict[str, Any]:
    """How far the training came, and how fast."""
    points = curve(trainer.state.log_history)
    seconds = points[-1].seconds if points else 0.0
    steps = trainer.state.global_step
    tokens = steps * job.budget.batch_size * job.study.task.length
    speed = tokens / seconds if seconds > 0 else 0.0
    return {"curve": points, "steps": steps, "train_seconds": seconds, "tokens_per_second": speed}


def _resume_point(watch: Watch) -> Found:
    """Where the training goes on, after telling why it does not start at the beginning, or why it has to."""
    job, deaths = watch.job, watch.attempt.deaths
    found = newest(job.checkpoints, job.fingerprint, job.study.shard)
    notes = list(found.notes)
    if deaths:
        notes.insert(0, f"the last attempt died after step {deaths[-1]} (killed, or out of memory?)")
    if any(step <= found.step for step in watch.due) and not watch.best.whole():
        notes.append("its best weights so far are damaged or gone")
        found = Found(None)
    if not found.path and ranks.is_rank0():
        watch.best.path.unlink(missing_ok=True)
    if found.path or notes:
        notes.append(f"going on from step {found.step}" if found.path else "starting at the beginning")
    for note in notes:
        watch.progress.note(f"{job.label}: {note}")
    return found


def save(job: Job, model: PreTrainedModel, weights: dict[str, Tensor]) -> None:
    """Keeps the trained model, and what is needed to use it, in the study's folder: all of it, or what was there before."""
    part = job.model_folder.with_name(f".{job.slug}.part")
    with writing("the trained model", job.model_folder):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        model.save_pretrained(part, state_dict=weights)
        job.study.task.save(part)
        shutil.rmtree(job.model_folder, ignore_errors=True)
        os.replace(part, job.model_folder)


def _status_of(error: Exception) -> Status:
    if isinstance(error, Unsupported):
        return "unsupported"
    if isinstance(error, Diverged):
        return "diverged"
    return "out_of_memory" if memory_ran_out(error) else "failed"


def _cause_of(error: Exception) -> str:
    """An error in one line."""
    first = (str(error).strip().splitlines() or [""])[0]
    own = isinstance(error, (Unsupported, Diverged, Died, Foreign))
    return first if own else f"{type(error).__name__}: {first}".removesuffix(": ")


def note(job: Job, error: Exception) -> None:
    """Keeps the whole traceback of a failed arm beside its row."""
    folder = job.study.place / "failures"
    with writing("a traceback", folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{job.slug}.txt").write_text("".join(traceback.format_exception(error)), encoding="utf-8")
