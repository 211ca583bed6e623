"""References of computations."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from formers.computation import Act, EarlyExit, FixedDepth, Last, Universal
from formers.part import Site
from formers.testing.references.algebra import Weights, project
from formers.testing.references.registry import reference


class Stack(NamedTuple):
    """What a computation runs: layers as functions of hidden states, the depth, and weights of the computation's own.

    `positions_bl` is the position of each token, (B or 1, L).
    """

    layers: Sequence[Callable[[Tensor], Tensor]]
    depth: int
    positions_bl: Tensor
    weights: Weights


@reference(FixedDepth)
def fixed(part: FixedDepth, site: Site, stack: Stack, x_bld: Tensor) -> Tensor:
    """One layer after the other."""
    for layer in stack.layers:
        x_bld = layer(x_bld)
    return x_bld


@reference(Universal)
def universal(part: Universal, site: Site, stack: Stack, x_bld: Tensor) -> Tensor:
    """h ← layer(h + P_t) for t = 1, 2, …; P_t is a sum of one vector for each position and one for t."""
    x_bld = _scale(part, site) * x_bld
    for step in range(stack.depth):
        layer = stack.layers[step % len(stack.layers)]
        x_bld = layer(x_bld + _signal(part, site, stack, step))
    return x_bld


@reference(Act)
def act(part: Act, site: Site, stack: Stack, x_bld: Tensor) -> Tensor:
    """Σ_n p_n s_n with N = min {n: Σ p ≥ 1 − ε} and p_N = R = 1 − Σ_{n<N} p_n, token by token; stopped tokens stay."""
    batch, length, _ = x_bld.shape
    x_bld = _scale(part, site) * x_bld
    tokens = [(b, i) for b in range(batch) for i in range(length)]
    given: dict[tuple[int, int], list[Tensor]] = {token: [] for token in tokens}
    weights: dict[tuple[int, int], list[Tensor]] = {token: [] for token in tokens}
    stopped = set[tuple[int, int]]()
    for step in range(stack.depth):
        layer = stack.layers[step % len(stack.layers)]
        y_bld = layer(x_bld + _signal(part, site, stack, step))
        p_bl = 1 / (1 + torch.exp(-project(stack.weights, "halting.proj", y_bld)[:, :, 0]))
        rows = [[x_bld[b, i] if (b, i) in stopped else y_bld[b, i] for i in range(length)] for b in range(batch)]
        x_bld = torch.stack([torch.stack(row) for row in rows])
        for token in set(tokens) - stopped:
            given[token].append(y_bld[token])
            before = sum(weights[token], torch.zeros((), dtype=torch.float64))
            if float((before + p_bl[token]).detach()) >= 1 - part.epsilon or step == stack.depth - 1:
                weights[token].append(1 - before)
                stopped.add(token)
            else:
                weights[token].append(p_bl[token])
    means = [sum((w * s for w, s in zip(weights[t], given[t], strict=True)), torch.zeros(())) for t in tokens]
    return torch.stack(means).view(x_bld.shape)


def _scale(part: Universal, site: Site) -> float:
    """Return the factor on the embedding: the root of the width where there are sinusoids."""
    if part.scale is not None:
        return part.scale
    return site.width**0.5 if part.position == "sinusoidal" or part.time == "sinusoidal" else 1.0


def _signal(part: Universal, site: Site, stack: Stack, step: int) -> Tensor:
    """Return P_t, (B or 1, L, D), number by number."""
    rows = []
    for positions_l in stack.positions_bl.tolist():
        rows.append([_vector(part.position, site, stack, "position_table.table", i, i) for i in positions_l])
    time_d = torch.stack([_vector(part.time, site, stack, "time_table", step, step + 1)])
    return torch.stack([torch.stack(vectors) for vectors in rows]) + time_d


def _vector(kind: str, site: Site, stack: Stack, table: str, row: int, at: float) -> Tensor:
    """Return the vector of a row of a table, or of the sinusoids at a number."""
    if kind == "learned":
        return stack.weights[f"signal.{table}.weight"][row]
    wave = math.sin, math.cos
    numbers = [wave[m % 2](at / 10000.0 ** (2 * (m // 2) / site.width)) for m in range(site.width)]
    return torch.tensor(numbers if kind == "sinusoidal" else [0.0] * site.width, dtype=torch.float64)


@reference(EarlyExit)
def early_exit(part: EarlyExit, site: Site, stack: Stack, x_bld: Tensor) -> Tensor:
    """One layer after the other; other rules than `last` are compared with a naive form of whole models."""
    assert part.rule == Last(), f"no reference of {part.rule}"
    for layer in stack.layers:
        x_bld = layer(x_bld)
    return x_bld
