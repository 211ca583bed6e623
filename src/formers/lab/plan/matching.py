"""Arms made comparable: the feed-forward's width, or the depth, is changed until an arm costs what the base costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from formers.lab.study.arm import Arm
from formers.lab.study.study import Match
from formers.part import Part
from formers.tasks.checks.checked_task import CheckedTask

if TYPE_CHECKING:
    from formers.models import TransformerConfig
    from formers.tasks.task import Task

_NARROWEST, _WIDEST = 1 / 4, 4
"""A hidden layer is changed by no more than these factors; beyond them, the depth changes too."""
_DEEPEST = 4
"""Times the arm's own depth."""
_CLOSE_ENOUGH = 0.01
"""Share of the target that a cost may be off without another depth being tried."""


def cost_of(task: Task, config: TransformerConfig, match: Match) -> float:
    """Return the number of parameters, or of operations per token at the task's length, counted without memory."""
    with torch.device("meta"):
        model = CheckedTask(task).model(config)
    return float(model.num_parameters()) if match == "parameters" else model.flops_per_token(task.length)


def match_arm(task: Task, config: TransformerConfig, arm: Arm, target: float, match: Match) -> Arm:
    """Return the arm with a feed-forward that brings its cost as near to `target` as it can be.

    Where the feed-forward is not enough, the depth changes too, as little as possible; but not if the arm chooses it.
    """
    if cost_of(task, config, match) == target:
        return arm
    candidates: list[tuple[float, dict[str, Any]]] = []
    for depth in _depths(config, arm):
        deep = config.swap(depth=depth)
        candidate = deep.swap(ffn=_matched_ffn(task, deep, target, match))
        error = abs(cost_of(task, candidate, match) / target - 1)
        candidates.append((error, _changes(config, candidate)))
        if _is_within_limits(config, candidate) and error < _CLOSE_ENOUGH:
            break
    return replace(arm, swaps={**arm.swaps, **min(candidates, key=lambda item: item[0])[1]})


def _depths(config: TransformerConfig, arm: Arm) -> Iterator[int]:
    """Yield the depths to try, the nearest first."""
    yield config.depth
    if "depth" not in arm.swaps:
        others = set(range(1, _DEEPEST * config.depth + 1)) - {config.depth}
        yield from sorted(others, key=lambda depth: abs(depth - config.depth))


def _matched_ffn(task: Task, config: TransformerConfig, target: float, match: Match) -> Part:
    """Return the feed-forward whose hidden width, in which every cost is linear, gives `target`, within limits."""
    ffn = config.ffn
    if not hasattr(ffn, "expand"):
        return ffn
    first, second = (cost_of(task, config.swap(ffn=_with_hidden(ffn, config, n * config.width)), match) for n in (1, 2))
    hidden = round(config.width * (1 + (target - first) / (second - first)))
    low, high = (round(limit * ffn.expand * config.width) for limit in (_NARROWEST, _WIDEST))
    return _with_hidden(ffn, config, min(max(hidden, low, 1), high))


def _with_hidden(ffn: Any, config: TransformerConfig, hidden: int) -> Part:
    """Return the feed-forward with a hidden layer of `hidden` units."""
    return replace(ffn, expand=round(hidden / config.width, 5))


def _is_within_limits(before: TransformerConfig, after: TransformerConfig) -> bool:
    """Return whether the hidden layer stayed clear of its limits."""
    expand_before, expand_after = (getattr(config.ffn, "expand", 1.0) for config in (before, after))
    return _NARROWEST < expand_after / expand_before < _WIDEST


def _changes(before: TransformerConfig, after: TransformerConfig) -> dict[str, Any]:
    """Return the choices of `after` that differ from `before`."""
    return {name: getattr(after, name) for name in ("depth", "ffn") if getattr(after, name) != getattr(before, name)}
