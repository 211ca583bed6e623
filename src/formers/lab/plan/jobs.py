"""The jobs of a study: one for every arm and seed, once the arms are made comparable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from formers.lab.plan.matching import cost_of, match_arm
from formers.lab.plan.step_time import relative_step_time
from formers.lab.store.records import Row
from formers.lab.study.candidates import Candidate, candidates
from formers.lab.study.choices import choices_text
from formers.lab.study.command_line import arm_command
from formers.lab.study.stages import stages_of
from formers.lab.study.study import Study
from formers.lab.train.job import Job
from formers.machine.environment import environment
from formers.part import Unsupported, quoted, value_text
from formers.tasks.task import digest

if TYPE_CHECKING:
    from formers.models import TransformerConfig


def plan_jobs(
    study: Study,
    taken: Mapping[str, Candidate] | None = None,
    further: Sequence[Candidate] = (),
    *,
    keep: bool = True,
) -> list[Job | Row]:
    """Return a job for each arm and seed, or its row where the arm cannot exist. The first seed of every arm is first.

    `taken` is arm name → what a search has found for it; without it, arms have the first of their alternatives.
    `further` come after the arms: the front of a larger search. `keep` is whether times are kept in the folder.

    Raises:
        ValueError: for an arm that is wrong (a misspelt option).
    """
    chosen = [taken[arm.name] if taken else candidates(study, arm)[0] for arm in study.arms]
    chosen += further
    matched = _matched(study, chosen, keep)  # once for all seeds: every model is built, and its time measured
    return [_with_seed(entry, seed) for seed in study.seeds for entry in matched]


def plan_search(study: Study, *, keep: bool = True) -> list[Job | Row]:
    """Return the jobs that try every alternative of every arm with every seed of the search, arm by arm.

    Arms with nothing to choose have none. Raise ValueError for an alternative that is wrong.
    """
    several = [found for arm in study.arms if len(found := candidates(study, arm)) > 1]
    matched = _matched(study, [candidate for found in several for candidate in found], keep)
    return [_with_seed(entry, seed, is_search=True) for seed in study.search_seeds for entry in matched]


@dataclass(frozen=True, kw_only=True)
class _Impossible:
    """A candidate that cannot exist, and why."""

    study: Study
    candidate: Candidate
    reason: Unsupported


def _matched(study: Study, chosen: Sequence[Candidate], keep: bool) -> list[Job | _Impossible]:
    """Return a job of the first seed for each candidate, with what the study matches made equal to the first arm's.

    That is the first arm which can exist, whether it is among the candidates or not.
    """
    configs: dict[str, TransformerConfig | Unsupported] = {}

    def entry(candidate: Candidate) -> Job | _Impossible:
        text = candidate.arm.text
        config = configs[text] if text in configs else configs.setdefault(text, study.built_config(candidate.arm))
        if isinstance(config, Unsupported):
            return _Impossible(study=study, candidate=candidate, reason=config)
        return first_job(study, candidate, config)

    entries = [entry(candidate) for candidate in chosen]
    if study.match == "steps":
        return entries
    firsts = (entry(candidates(study, arm)[0]) for arm in study.arms)
    base = next((first for first in firsts if isinstance(first, Job)), None)
    return [_matched_job(it, base, keep) if base and isinstance(it, Job) else it for it in entries]


def first_job(study: Study, candidate: Candidate, config: TransformerConfig) -> Job:
    """Return the job of a candidate with the first seed. Raise ValueError for stages that it cannot have."""
    try:
        stages_of(study, candidate.arm, config, candidate.budget)
    except ValueError as error:
        raise ValueError(f"arm {quoted(candidate.arm.name)}: {error}") from error
    return Job(
        study=study,
        arm=candidate.arm,
        config=config,
        budget=candidate.budget,
        seed=study.seeds[0],
        options=candidate.options,
    )


def _matched_job(job: Job, base: Job, keep: bool) -> Job:
    """Return the job with its sizes, or its steps, changed to what the study matches."""
    study = job.study
    if study.match in ("parameters", "flops"):
        target = cost_of(base.task.task, base.config, study.match)
        arm = match_arm(job.task.task, job.config, job.arm, target, study.match)
        return job if arm is job.arm else replace(job, arm=arm, config=study.config(arm))
    if study.match == "time" and job.config_json != base.config_json:  # a model is not timed against itself
        steps = max(1, round(study.budget.steps / relative_step_time(study, job.config, base.config, keep)))
        return replace(job, budget=replace(job.budget, steps=steps))
    return job


def _with_seed(entry: Job | _Impossible, seed: int, is_search: bool = False) -> Job | Row:
    if isinstance(entry, Job):
        return replace(entry, seed=seed, is_search=is_search)
    return _unsupported_row(entry, seed, is_search)


def _unsupported_row(entry: _Impossible, seed: int, is_search: bool) -> Row:
    """Return the row of an arm that cannot exist."""
    facts = ["search"] if is_search else []
    row = untrained_row(entry.study, entry.candidate, seed, entry.reason, facts)
    return replace(row, status="unsupported", is_search=is_search)


def untrained_row(study: Study, candidate: Candidate, seed: int, reason: object, facts: Sequence[object] = ()) -> Row:
    """Return the row of a candidate that is not trained, with the reason; `facts` make its fingerprint its own."""
    arm, budget = candidate.arm, candidate.budget
    choices = {**study.base, **arm.swaps}
    return Row(
        arm=arm.name,
        seed=seed,
        status="unsupported",
        cause=" ".join(str(reason).split()),
        choices=study.checked_task.base().choices() | {name: value_text(value) for name, value in choices.items()},
        environment=environment(study.compute.device),
        budget=budget.to_dict(),
        options=dict(candidate.options),
        data_hash=study.checked_task.data_hash,
        command=arm_command(study, arm, budget, seed),
        fingerprint=digest([study.task, budget, choices_text(choices), seed, reason, *facts]),
    )
