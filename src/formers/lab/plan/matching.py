"""Making arms comparable: the feed-forward's width, or the depth, is changed until an arm costs what the base costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, cast

import torch

from formers.lab.study.arm import Arm
from formers.part import Part

if TYPE_CHECKING:
    from formers.models import TransformerConfig
    from formers.models.pretrained import FormersModel
    from formers.tasks.task import Task

Match = Literal["steps", "parameters", "flops", "time"]
MATCHES: tuple[Match, ...] = ("steps", "parameters", "flops", "time")
"""What arms can have in common: optimiser steps; also parameters, or operations per token; or seconds instead of steps."""

NARROWEST, WIDEST = 1 / 4, 4
"""A hidden layer is changed by no more than this; beyond it, the depth changes too."""
_DEEPEST = 4
"""Times the arm's own depth."""


def cost(task: Task, config: TransformerConfig, what: Match) -> float:
    """Parameters, or operations per token at the task's length, counted without memory."""
    with torch.device("meta"):
        model = cast("FormersModel", task.model(config))
    return float(model.num_parameters()) if what == "parameters" else model.flops_per_token(task.length)


def matched(task: Task, config: TransformerConfig, arm: Arm, target: float, what: Match) -> Arm:
    """The arm with a feed-forward, and where that is not enough a depth, whose cost is as near `target` as it can be.

    The depth stays if the arm chooses it itself, and else as near as possible to what it was.
    """
    if cost(task, config, what) == target:
        return arm
    tried: list[tuple[float, dict[str, Any]]] = []
    for depth in _depths(config, arm):
        deep = config.swap(depth=depth)
        ffn = _resized(task, deep, target, what)
        found = deep.swap(ffn=ffn)
        miss = abs(cost(task, found, what) / target - 1)
        tried.append((miss, _changes(config, found)))
        if _within(config, found) and miss < 0.01:
            break
    return replace(arm, swaps={**arm.swaps, **min(tried, key=lambda item: item[0])[1]})


def _depths(config: TransformerConfig, arm: Arm) -> Iterator[int]:
    """The depths to try, the nearest first."""
    yield config.depth
    if "depth" not in arm.swaps:
        yield from sorted(
            set(range(1, _DEEPEST * config.depth + 1)) - {config.depth}, key=lambda d: abs(d - config.depth)
        )


def _resized(task: Task, config: TransformerConfig, target: float, what: Match) -> Part:
    """The feed-forward whose hidden width, in which every cost is linear, brings the model to `target`, within limits."""
    ffn = config.ffn
    if not hasattr(ffn, "expand"):
        return ffn
    first, second = (cost(task, config.swap(ffn=_widened(ffn, config, n * config.width)), what) for n in (1, 2))
    hidden = round(config.width * (1 + (target - first) / (second - first)))
    low, high = (round(limit * ffn.expand * config.width) for limit in (NARROWEST, WIDEST))
    return _widened(ffn, config, min(max(hidden, low, 1), high))


def _widened(ffn: Any, config: TransformerConfig, hidden: int) -> Part:
    """The feed-forward with a hidden layer of so many units."""
    return replace(ffn, expand=round(hidden / config.width, 5))


def _within(config: TransformerConfig, found: TransformerConfig) -> bool:
    """Whether a hidden layer stayed clear of its limits."""
    before, after = (getattr(c.ffn, "expand", 1.0) for c in (config, found))
    return NARROWEST < after / before < WIDEST


def _changes(before: TransformerConfig, after: TransformerConfig) -> dict[str, Any]:
    """The choices in which two configurations differ."""
    names = ("depth", "ffn")
    return {name: getattr(after, name) for name in names if getattr(after, name) != getattr(before, name)}
