"""The plan of a study: a job for every arm and seed, once the arms are made comparable."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from formers.lab.plan.job import Job, impossible
from formers.lab.plan.matching import cost, matched
from formers.lab.plan.step_time import slowness
from formers.lab.store.records import Row
from formers.lab.study.arm import Arm
from formers.lab.study.study import Study
from formers.part import Unsupported

if TYPE_CHECKING:
    from formers.models import TransformerConfig


def planned(study: Study) -> list[Job | Row]:
    """A job for each arm and seed, or its row where it cannot exist. The first seed of every arm comes first.

    Raises:
        ValueError: for an arm that is wrong (a misspelt option).
    """
    configs = study.configs()
    base = next((config for config in configs.values() if not isinstance(config, Unsupported)), None)
    first = [_entry(study, arm, configs[arm.name], base) for arm in study.arms]
    return [_reseeded(study, item, seed) for seed in study.seeds for item in first]


def _entry(
    study: Study, arm: Arm, config: TransformerConfig | Unsupported, base: TransformerConfig | None
) -> Job | tuple[Arm, Unsupported]:
    """The job of an arm with the first seed, or why it cannot exist."""
    if isinstance(config, Unsupported) or base is None:
        assert isinstance(config, Unsupported)
        return arm, config
    job = Job(study=study, arm=arm, config=config, budget=study.given, seed=study.seeds[0])
    return job if config is base else _comparable(job, base)


def _comparable(job: Job, base: TransformerConfig) -> Job:
    """The job with its sizes, or its steps, changed to what the study matches."""
    study = job.study
    if study.match in ("parameters", "flops"):
        arm = matched(study.task, job.config, job.arm, cost(study.task, base, study.match), study.match)
        return replace(job, arm=arm, config=study.config(arm))
    if study.match == "time":
        steps = max(1, round(study.given.steps / slowness(study, job.config, base)))
        return replace(job, budget=replace(study.given, steps=steps))
    return job


def _reseeded(study: Study, item: Job | tuple[Arm, Unsupported], seed: int) -> Job | Row:
    return replace(item, seed=seed) if isinstance(item, Job) else impossible(study, item[0], seed, item[1])
