"""The backward pass of tiled bucketed attention. Scores are made again: with p = 2^(s − lse) and g the gradient of y,

ds = p ⊙ (g vᵀ − g·y)        dq = scale·ds k        dk = scale·dsᵀ q        dv = pᵀ g
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, bmm

from formers.ops.bucketed_attention.tiles import SortedRound, unit
from formers.ops.bucketed_attention.tiling import Tiling
from formers.ops.common.workspace import Workspace


class SavedForBackward(NamedTuple):
    """The tensors that the backward pass starts from, of all heads, (N, L, ·).

    Attributes:
        q, k, v: as in the forward pass.
        g: the gradient of y.
        lse: log₂ Σ 2^s.
        delta: g·y.
    """

    q: Tensor
    k: Tensor | None
    v: Tensor
    g: Tensor
    lse: Tensor
    delta: Tensor


def backward(
    saved: SavedForBackward, tiling: Tiling, workspace: Workspace, totals: tuple[Tensor, Tensor, Tensor]
) -> None:
    """Write the gradients of q, k and v of the tiling's heads into `totals`; that of k is q/|q|'s where k is None."""
    for r in range(len(tiling.order_rnc)):
        sorted_round = SortedRound(tiling, r, workspace)
        for total, found in zip(totals, _round(sorted_round, saved), strict=True):
            some = sorted_round.unsort("some", found)
            total.add_(some) if r else total.copy_(some)


def _round(sorted_round: SortedRound, saved: SavedForBackward) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of one round's pairs, in sorted order."""
    tiling, workspace, sort = sorted_round.tiling, sorted_round.workspace, sorted_round.sort
    q, v, g = sort("q", saved.q), sort("v", saved.v), sort("g", saved.g)
    k = sorted_round.sort_keys(q, saved.k)
    lse, delta = sort("lse", saved.lse), sort("delta", saved.delta)
    lse.view(*sorted_round.shape)[:, 0].fill_(torch.inf)  # an empty tile sees nothing
    gq, gk, gv = (workspace.empty(f"g{i} sorted", *t.shape) for i, t in enumerate((q, k, v)))
    for tiles in sorted_round.tiles():
        q_here, k_here, v_here, g_here = tiles.of(q), tiles.keys(k), tiles.keys(v), tiles.of(g)
        p = sorted_round.scores(tiles, q_here, k_here).sub_(tiles.of(lse)).exp2_()
        tiles.put_keys(gv, bmm(p.mT, g_here, out=workspace.out("of keys", *v_here.shape)))
        gs = bmm(g_here, v_here.mT, out=workspace.out("gs", *p.shape)).sub_(tiles.of(delta)).mul_(p).mul_(tiling.scale)
        if tiling.self_last and sorted_round.r == 0 and tiles.near:
            gs.diagonal(tiling.tile, -2, -1).zero_()
        tiles.put_keys(gk, bmm(gs.mT, q_here, out=workspace.out("of keys", *k_here.shape)))
        tiles.put(gq, bmm(gs, k_here, out=workspace.out("of queries", *q_here.shape)))
    return gq, gk, gv


def through_unit(x: Tensor, g: Tensor) -> Tensor:
    """Return the gradient of x, given that of x/|x|, in whose memory it is made."""
    direction, shrink = unit(x)
    along = (g * direction).sum(-1, keepdim=True)
    return g.sub_(direction.mul_(along)).mul_(shrink)
