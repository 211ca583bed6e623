"""A forecast of a study: what each arm costs before anything trains, and how long all of it takes here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median

import torch
from torch import Tensor

from formers.lab.plan.jobs import plan_jobs, plan_search
from formers.lab.plan.sampled_search import SampledSearch
from formers.lab.plan.step_time import StepTimer
from formers.lab.store.records import Row
from formers.lab.study.search_space import SearchSpace
from formers.lab.study.study import Study
from formers.lab.train.job import Job
from formers.lab.train.training import count_costs
from formers.machine.memory import is_out_of_memory
from formers.models.costs import on_meta

_WARM_UP, _TIMED = 1, 3
_ADAM_BYTES = 16
"""Bytes a parameter in float32: its weight, its gradient, and AdamW's two moments."""


@dataclass(frozen=True, kw_only=True)
class ArmForecast:
    """One arm, or one alternative of it, before it trains.

    Attributes:
        arm: its name.
        tried: the alternatives that it has here, in words; empty where it has none.
        runs: trainings that it takes, those of the search included.
        parameters, flops_per_token, state_bytes: counted; None where it cannot exist, or does not stream.
        memory_bytes: of weights, gradients, optimiser, and what a step keeps for its backward pass.
        step_seconds: a step took so long here, just now; None where it could not be taken.
        seconds: of all steps of all runs; evaluations come on top.
        problem: the reason why it cannot train, in one line.
    """

    arm: str
    tried: str = ""
    runs: int
    parameters: int | None = None
    flops_per_token: float | None = None
    state_bytes: float | None = None
    memory_bytes: float | None = None
    step_seconds: float | None = None
    seconds: float = 0.0
    problem: str = ""


def forecast(study: Study) -> Iterator[ArmForecast]:
    """Yield the forecast of every arm of a study, one at a time; those of its search before those that are ranked.

    Of a larger search, the first trials are drawn, and the others taken to be like them.

    A few steps of each model are taken to time them; nothing is written, and no row is made.

    Raises:
        ValueError: for an arm that is wrong (a misspelt option).
    """
    ranked = plan_jobs(study, keep=False)
    tried = plan_search(study, keep=False) if study.searches else []
    known: dict[str, ArmForecast] = {}
    for entries, seeds in ((tried, study.search_seeds), (ranked, study.seeds)):
        for entry in entries[: len(entries) // len(seeds)]:
            yield _of_entry(entry, len(seeds), known)
    if study.space:
        yield from _of_search(study, study.space, known)


def _of_search(study: Study, space: SearchSpace, known: dict[str, ArmForecast]) -> Iterator[ArmForecast]:
    """Yield the forecasts of the first trials of a larger search, then of the others and the front, as if like them."""
    seeds = len(study.search_seeds)
    drawn = SampledSearch(study, keep=False).draw()
    firsts = [entry for entry in drawn if entry.seed == study.search_seeds[0]]
    found = []
    for entry in firsts:
        it = _of_entry(entry, seeds, known)
        yield it
        found += [it] if it.runs else []
    mean = fmean(it.seconds / seeds for it in found) if found else 0.0
    if more := space.trials - len(found):
        yield ArmForecast(arm=f"{more} more trials", runs=more * seeds, seconds=mean * more * seeds)
    ranked = min(space.front, space.trials) * len(study.seeds)
    yield ArmForecast(arm=f"the front, up to {space.front}", runs=ranked, seconds=mean * ranked)


def _of_entry(entry: Job | Row, runs: int, known: dict[str, ArmForecast]) -> ArmForecast:
    """Return the forecast of one entry of a plan; models that are known already are not timed again."""
    tried = ", ".join(f"{option}={value}" for option, value in entry.options.items()) if entry.is_search else ""
    if isinstance(entry, Row):
        return ArmForecast(arm=entry.arm, tried=tried, runs=0, problem=entry.cause)
    name = f"{entry.config.to_json_string(use_diff=False)} {entry.budget.batch_size} {entry.arm.task_swaps}"
    if name not in known:
        known[name] = _measured(entry)
    found = known[name]
    seconds = (found.step_seconds or 0.0) * entry.budget.steps * runs
    return replace(found, arm=entry.arm.name, tried=tried, runs=runs, seconds=seconds)


def _measured(job: Job) -> ArmForecast:
    """Return what is counted of a job's model, and measured in a few steps."""
    with torch.device("meta"):
        model = job.task.model(job.config)
    counted = count_costs(on_meta(model), job.length)
    found = ArmForecast(
        arm=job.arm.name,
        runs=1,
        parameters=counted["parameters"],
        flops_per_token=counted["flops_per_token"],
        state_bytes=counted["state_bytes"],
    )
    try:
        seconds, kept = _timed(job)
    except Exception as error:  # what fails here fails in training, as a row
        if not is_out_of_memory(error):
            return replace(found, problem=f"a step fails: {' '.join(str(error).split())[:200]}")
        return replace(found, problem="a step needs more memory than there is")
    return replace(found, step_seconds=seconds, memory_bytes=kept + _ADAM_BYTES * counted["parameters"])


def _timed(job: Job) -> tuple[float, int]:
    """Return the seconds of a step, the median of a few, and the bytes that it keeps for its backward pass."""
    study = replace(job.study, task=job.arm.task_of(job.study.task), arms=(job.arm,), budget=job.budget, search={})
    timer = StepTimer(study, job.config)
    saved = _SavedBytes(timer.model.parameters())
    with saved:
        timer.time_step()
    for _ in range(_WARM_UP):
        timer.time_step()
    return median(timer.time_step() for _ in range(_TIMED)), saved.total


class _SavedBytes(torch.autograd.graph.saved_tensors_hooks):
    """Counts the bytes of what autograd saves, each storage once, weights left out."""

    def __init__(self, weights: Iterator[Tensor]) -> None:
        super().__init__(self._saved, lambda tensor: tensor)
        self._known = {weight.untyped_storage().data_ptr() for weight in weights}
        self.total = 0

    def _saved(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._known:
            self._known.add(storage.data_ptr())
            self.total += storage.nbytes()
        return tensor


def total_seconds(found: Sequence[ArmForecast]) -> float:
    """Return the seconds of all steps of a study."""
    return sum(it.seconds for it in found)
