"""The stages of a job: what each trains, the model that it starts from, and what is kept of it once it is finished."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from formers.lab.distributed import ranks
from formers.lab.distributed.full_state import full_weights, load_full_weights
from formers.lab.store.records import Point
from formers.lab.store.write_error import reporting_write_errors
from formers.lab.study.stages import stages_of
from formers.lab.train.initial_weights import seeded_model
from formers.lab.train.job import Job
from formers.machine.files import flush_to_disk, remove
from formers.models.convert import convert_weights

if TYPE_CHECKING:
    from formers.models.pretrained import FormersModel


@dataclass(frozen=True)
class FinishedStage:
    """A stage that is trained: its job, the file with its weights, and the curve up to its end."""

    job: Job
    path: Path
    curve: tuple[Point, ...]


def stage_jobs(job: Job) -> list[Job]:
    """Return the job itself; or where its budget has several stages, a job for each, with checkpoints of its own.

    Raise ValueError where the length, or a window, cannot be halved so often.
    """
    if job.budget.stages == 1:
        return [job]
    return [
        replace(
            job,
            study=stage.study,
            config=stage.config,
            budget=stage.study.budget,
            steps_before=stage.steps_before,
            examples_before=stage.examples_before,
            checkpoints=job.checkpoint_folder / f"stage-{number}",
        )
        for number, stage in enumerate(stages_of(job.study, job.arm, job.config, job.budget), 1)
    ]


def starting_model(job: Job, before: FinishedStage | None) -> FormersModel:
    """Return the model that a stage starts from: a new one, or the stage before's, made longer and wider.

    Raise ValueError where that has no weights for all of it: `convert_weights` says for which.
    """
    model = seeded_model(job.task, job.config, job.seed)
    if before is None:
        return model
    trained = seeded_model(before.job.task, before.job.config, before.job.seed)
    load_full_weights(trained, load_file(before.path) if ranks.is_rank0() else {})
    with torch.random.fork_rng(devices=[]):  # weights lie on the CPU
        longer: FormersModel = convert_weights(trained, model.config, strict=True).model
    return longer


def keep_stage(job: Job, model: FormersModel, curve: tuple[Point, ...]) -> FinishedStage:
    """Write the weights of a finished stage, with the curve so far, and remove its checkpoints.

    Raises:
        WriteError: where the disk is full.
    """
    path, weights = _path_of(job), full_weights(model)
    if ranks.is_rank0():
        facts = {"fingerprint": job.fingerprint, "curve": json.dumps([asdict(point) for point in curve])}
        _write(path, weights, facts)
        shutil.rmtree(job.checkpoint_folder, ignore_errors=True)
    return FinishedStage(job, path, curve)


def finished_stage(job: Job) -> FinishedStage | None:
    """Return a stage that was trained and kept before; None where it was not, or as another stage."""
    curve = ranks.broadcast_from_rank0(_kept_curve(job) if ranks.is_rank0() else None)
    return None if curve is None else FinishedStage(job, _path_of(job), curve)


def _path_of(job: Job) -> Path:
    return job.checkpoint_folder.with_suffix(".safetensors")


def _kept_curve(job: Job) -> tuple[Point, ...] | None:
    try:
        with safe_open(str(_path_of(job)), framework="pt") as file:
            facts = file.metadata() or {}
        if facts.get("fingerprint") == job.fingerprint:
            return tuple(Point(**point) for point in json.loads(facts["curve"]))
    except (OSError, SafetensorError, KeyError, ValueError, TypeError):
        pass  # cut off, or another program's: the stage is trained again
    return None


def _write(path: Path, weights: dict[str, Tensor], facts: dict[str, str]) -> None:
    part = path.with_suffix(".part")
    with reporting_write_errors("the weights of a stage", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove(part)
        save_file(weights, str(part), metadata=facts)
        flush_to_disk(part)
        os.replace(part, path)
