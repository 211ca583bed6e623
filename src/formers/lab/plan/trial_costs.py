"""The costs of a trial before it trains, and the limits that it is beyond."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from formers.lab.plan.latency import latency_of
from formers.lab.store.records import Row
from formers.lab.study.cost_limits import COST_OF
from formers.lab.train.job import Job
from formers.lab.train.training import count_costs
from formers.models.costs import on_meta
from formers.plot.number_format import count, duration, size

_TEXT = {"parameters": count, "flops": count, "state": size, "latency": duration}
_NONE = 1.0
"""Excess of what has no such cost: as if it were twice the limit."""


def costs_before_training(job: Job, under: Mapping[str, float], keep: bool = True) -> dict[str, Any]:
    """Return attribute of a row → its value, for what is counted of a job's model; its latency where that is limited.

    `keep` is whether a measured latency is kept in the study's folder.
    """
    with torch.device("meta"):
        model = job.task.model(job.config)
    latency = {"latency_seconds": latency_of(job, keep)} if "latency" in under else {}
    return count_costs(on_meta(model), job.length) | latency


def with_latency(plan: Sequence[Job | Row], under: Mapping[str, float]) -> list[Job | Row]:
    """Return a plan whose jobs know their latency, where a search bounds that of its trials."""
    if "latency" not in under:
        return list(plan)
    return [replace(entry, latency_seconds=latency_of(entry)) if isinstance(entry, Job) else entry for entry in plan]


def excesses(costs: Mapping[str, Any], under: Mapping[str, float]) -> dict[str, float]:
    """Return cost → by which share of its limit it is exceeded; 0 or less where it is not."""
    found = {name: costs.get(COST_OF[name]) for name in under}
    return {name: _NONE if value is None else value / under[name] - 1 for name, value in found.items()}


def excess_text(costs: Mapping[str, Any], under: Mapping[str, float]) -> str:
    """Return which limits are exceeded, in a sentence; empty where none is."""
    told = []
    for name, excess in excesses(costs, under).items():
        if excess > 0:
            text, value = _TEXT[name], costs.get(COST_OF[name])
            own = f"{name} {text(value)}" if value is not None else f"no {name} that could be bounded"
            told.append(f"{own}, and at most {text(under[name])} is allowed")
    return "; ".join(told)
