"""The forward pass of tiled bucketed attention: a softmax of each tile, merged over tiles and rounds.

Parts of a softmax are merged by the sums of their weights: with lse = log₂ Σ 2^s,

    lse = log₂(2^lse₁ + 2^lse₂)        y = 2^(lse₁ − lse) y₁ + 2^(lse₂ − lse) y₂
"""

from __future__ import annotations

import torch
from torch import Tensor, bmm

from formers.ops.bucketed_attention.tiles import SortedRound
from formers.ops.bucketed_attention.tiling import Tiling
from formers.ops.common.workspace import Workspace


def forward(
    q: Tensor, k: Tensor | None, v: Tensor, tiling: Tiling, workspace: Workspace, y: Tensor, lse: Tensor
) -> None:
    """Write y and lse of the tiling's heads, given q, k and v of all heads, (N, L, ·)."""
    for r in range(len(tiling.order_rnc)):
        some_y, some_lse = _round(SortedRound(tiling, r, workspace), q, k, v)
        if r:
            _merge(y, lse, some_y, some_lse)
        else:
            y.copy_(some_y)
            lse.copy_(some_lse)


def _round(sorted_round: SortedRound, q: Tensor, k: Tensor | None, v: Tensor) -> tuple[Tensor, Tensor]:
    """Return y and lse of one round's pairs, (these heads, L, V or 1)."""
    workspace = sorted_round.workspace
    q, v = sorted_round.sort("q", q), sorted_round.sort("v", v)
    k = sorted_round.sort_keys(q, k)
    y, lse = workspace.empty("y sorted", *v.shape), workspace.empty("lse sorted", *v.shape[:2], 1)
    for tiles in sorted_round.tiles():
        s, v_keys = sorted_round.scores(tiles, tiles.of(q), tiles.keys(k)), tiles.keys(v)
        top = s.amax(2, keepdim=True)
        p = s.sub_(top).exp2_()
        weight = p.sum(2, keepdim=True)
        some_y = bmm(p, v_keys, out=workspace.out("y", *p.shape[:2], v.shape[2])).div_(weight)
        some_lse = weight.log2_().add_(top)
        if not tiles.near:
            _merge(some_y, some_lse, tiles.of(y), tiles.of(lse))
        y[tiles.which], lse[tiles.which] = some_y, some_lse
    return sorted_round.unsort("y of round", y), sorted_round.unsort("lse of round", lse)


def _merge(y: Tensor, lse: Tensor, more_y: Tensor, more_lse: Tensor) -> None:
    """Make the averages y, (…, V), and lse, (…, 1), of one part those of two parts."""
    both = torch.logaddexp2(lse, more_lse)
    y.lerp_(more_y, (more_lse - both).exp2_())
    lse.copy_(both)
