"""The jobs of a study: one for every arm and seed, once the arms are made comparable."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from formers.lab.plan.matching import cost_of, match_arm
from formers.lab.plan.step_time import relative_step_time
from formers.lab.store.records import Row
from formers.lab.study.arm import Arm
from formers.lab.study.choices import choices_text
from formers.lab.study.command_line import arm_command
from formers.lab.study.study import Study
from formers.lab.train.job import Job
from formers.machine.environment import environment
from formers.part import Unsupported, value_text
from formers.tasks.task import digest

if TYPE_CHECKING:
    from formers.models import TransformerConfig


def plan_jobs(study: Study) -> list[Job | Row]:
    """Return a job for each arm and seed, or its row where the arm cannot exist. The first seed of every arm is first.

    Raises:
        ValueError: for an arm that is wrong (a misspelt option).
    """
    configs = study.configs()
    entries = [_first_job(study, arm, configs[arm.name]) for arm in study.arms]
    base = next((entry for entry in entries if isinstance(entry, Job)), None)
    matched = [_matched_job(entry, base) if base and isinstance(entry, Job) else entry for entry in entries]
    return [_with_seed(study, entry, seed) for seed in study.seeds for entry in matched]


def _first_job(study: Study, arm: Arm, config: TransformerConfig | Unsupported) -> Job | tuple[Arm, Unsupported]:
    """Return the job of an arm with the first seed; or the arm, and why it cannot exist."""
    if isinstance(config, Unsupported):
        return arm, config
    return Job(study=study, arm=arm, config=config, budget=study.budget, seed=study.seeds[0])


def _matched_job(job: Job, base: Job) -> Job:
    """Return the job with its sizes, or its steps, changed to what the study matches."""
    study = job.study
    if job is base:
        return job
    if study.match in ("parameters", "flops"):
        target = cost_of(base.task.task, base.config, study.match)
        arm = match_arm(job.task.task, job.config, job.arm, target, study.match)
        return replace(job, arm=arm, config=study.config(arm))
    if study.match == "time":
        steps = max(1, round(study.budget.steps / relative_step_time(study, job.config, base.config)))
        return replace(job, budget=replace(study.budget, steps=steps))
    return job


def _with_seed(study: Study, entry: Job | tuple[Arm, Unsupported], seed: int) -> Job | Row:
    return replace(entry, seed=seed) if isinstance(entry, Job) else _unsupported_row(study, entry[0], seed, entry[1])


def _unsupported_row(study: Study, arm: Arm, seed: int, reason: Unsupported) -> Row:
    """Return the row of an arm that cannot exist."""
    choices = {**study.base, **arm.swaps}
    return Row(
        arm=arm.name,
        seed=seed,
        status="unsupported",
        cause=" ".join(str(reason).split()),
        choices=study.checked_task.base().choices() | {name: value_text(value) for name, value in choices.items()},
        environment=environment(),
        budget=asdict(study.budget),
        data_hash=study.checked_task.data_hash,
        command=arm_command(study, arm, study.budget, seed),
        fingerprint=digest([study.task, study.budget, choices_text(choices), seed, reason]),
    )
