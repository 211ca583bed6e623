"""The passes of attention with terms by distance, tile by tile.

With s the scores, scaled, to base 2, P = 2^(s − lse), lse = log₂ Σ 2^s, and g the gradient of y,

    s = scale·q kᵀ + c aᵀ + b    y = P v + P u    dS = P ⊙ (g vᵀ + g uᵀ − g·y)
    dq = scale·dS k    dk = scale·dSᵀ q    dv = Pᵀ g    dc = dS a    da = dSᵀ c    db = Σ dS    du = Pᵀ g

where terms with a, b and u, tables by distance, go over queries × distances, the others over queries × keys.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from formers.ops.attention.distance_tiles import SCORES_AT_ONCE, DistancePlan, Tile, TileMemory
from formers.ops.common.workspace import Workspace

_LOG2_E = math.log2(math.e)
"""Scores are taken to base 2: on a CPU exp2 is several times faster than exp, which is slowest on what underflows."""


class DistanceInputs(NamedTuple):
    """All heads of all rows of the batch, N of them.

    Attributes:
        q, k, v: (N, L, K), (N, S, K) and (N, S, V).
        c, a: (N, L, C) and (N, n, C); None for no such term.
        b: (N, n); None for no such term.
        u: (N, n, V); None for no such term.
        hidden: (N, 1, S) bool, True where a key is not to be seen; None for no such key.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    c: Tensor | None
    a: Tensor | None
    b: Tensor | None
    u: Tensor | None
    hidden: Tensor | None


def forward(x: DistanceInputs, plan: DistancePlan) -> tuple[Tensor, Tensor]:
    """Return y, (N, L, V), and lse, (N, L, 1); zeros and ∞ where a query sees no key."""
    heads, workspace = len(x.q), Workspace(x.q, x.q.dtype)
    y = x.v.new_empty(plan.rows, heads, x.v.shape[2]).transpose(0, 1)
    lse = x.q.new_empty(heads, plan.rows, 1)
    for tile, some in _tiles_of_heads(plan, heads):
        memory = tile.memory(workspace, "scores", len(x.q[some]))
        s = _scores(x, plan, memory, some)
        top = s.amax(2, keepdim=True) if s.shape[2] else s.new_zeros(*s.shape[:2], 1)
        top.clamp_(min=torch.finfo(s.dtype).min)
        weight = s.sub_(top).exp2_().sum(2, keepdim=True)
        empty = weight == 0
        weight.masked_fill_(empty, 1)
        total = torch.bmm(s, x.v[some, tile.keys])
        if x.u is not None:
            memory.clear_margins()
            total.baddbmm_(memory.distances, x.u[some, tile.entries])
        y[some, tile.rows] = total.div_(weight)
        lse[some, tile.rows] = weight.log2_().add_(top).masked_fill_(empty, torch.inf)
    return y, lse


def backward(x: DistanceInputs, plan: DistancePlan, y: Tensor, lse: Tensor, g: Tensor) -> tuple[Tensor | None, ...]:
    """Return the gradients of q, k, v, c, a, b and u, given that of y; None for what is None."""
    workspace = Workspace(x.q, x.q.dtype)
    gq, gc = torch.empty_like(x.q), None if x.c is None else torch.empty_like(x.c)
    gk, gv, ga, gb, gu = (None if t is None else torch.zeros_like(t) for t in (x.k, x.v, x.a, x.b, x.u))
    assert gk is not None
    assert gv is not None
    delta = (y * g).sum(2, keepdim=True)
    for tile, some in _tiles_of_heads(plan, len(x.q)):
        weights, slopes = (tile.memory(workspace, name, len(x.q[some])) for name in ("scores", "slopes"))
        p, ds, g_here = _scores(x, plan, weights, some), slopes.pairs, g[some, tile.rows]
        p.sub_(lse[some, tile.rows]).exp2_()
        gv[some, tile.keys].baddbmm_(p.mT, g_here)
        ds.baddbmm_(g_here, x.v[some, tile.keys].mT, beta=0)
        if x.u is not None and gu is not None:
            slopes.distances.baddbmm_(g_here, x.u[some, tile.entries].mT)
            weights.clear_margins()
            gu[some, tile.entries].baddbmm_(weights.distances.mT, g_here)
        ds.sub_(delta[some, tile.rows]).mul_(p)
        gq[some, tile.rows] = torch.bmm(ds, x.k[some, tile.keys])
        gk[some, tile.keys].baddbmm_(ds.mT, x.q[some, tile.rows], alpha=plan.scale)
        slopes.clear_margins()
        if x.c is not None and x.a is not None and gc is not None and ga is not None:
            gc[some, tile.rows] = torch.bmm(slopes.distances, x.a[some, tile.entries])
            ga[some, tile.entries].baddbmm_(slopes.distances.mT, x.c[some, tile.rows])
        if gb is not None:
            gb[some, tile.entries] += slopes.distances.sum(1)
    return gq.mul_(plan.scale), gk, gv, gc, ga, gb, gu


def _tiles_of_heads(plan: DistancePlan, heads: int) -> Iterator[tuple[Tile, slice]]:
    """Yield the tiles, each for as many heads at a time as fit the cache together."""
    for tile in plan.tiles():
        step = max(SCORES_AT_ONCE // max(tile.scores, 1), 1)
        for first in range(0, heads, step):
            yield tile, slice(first, min(first + step, heads))


def _scores(x: DistanceInputs, plan: DistancePlan, memory: TileMemory, some: slice) -> Tensor:
    """Return the scores of a tile to base 2, (n, l, s), −∞ where a pair is not seen."""
    tile = memory.tile
    s = memory.pairs.baddbmm_(x.q[some, tile.rows], x.k[some, tile.keys].mT, beta=0, alpha=plan.scale * _LOG2_E)
    if x.c is not None and x.a is not None:
        memory.distances.baddbmm_(x.c[some, tile.rows], x.a[some, tile.entries].mT, alpha=_LOG2_E)
    if x.b is not None:
        memory.distances.add_(x.b[some, None, tile.entries], alpha=_LOG2_E)
    tile.hide(s)
    return s if x.hidden is None else s.masked_fill_(x.hidden[some, :, tile.keys], -torch.inf)
