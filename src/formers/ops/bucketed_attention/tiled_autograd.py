"""Tiled bucketed attention in operations that autograd knows: for derivatives of any order."""

from __future__ import annotations

import torch
from torch import Tensor

from formers.ops.bucketed_attention.tiles import SortedRound
from formers.ops.bucketed_attention.tiling import Tiling
from formers.ops.common.workspace import Workspace


def attention_of_tiles(q: Tensor, k: Tensor | None, v: Tensor, tiling: Tiling) -> tuple[Tensor]:
    """Return y, (N, L, V), of all heads; k is q/|q| where it is None.

    That is Σ p v / Σ p over tiles and rounds, with p = 2^(s − t) and t the largest score of a query, a constant.

    Cost: twice the time of `tiled_forward`; with its graph, O(R L·chunk) memory.
    """
    workspace = Workspace(q, q.dtype, enabled=False)
    rounds = [SortedRound(tiling, r, workspace) for r in range(len(tiling.order_rnc))]
    with torch.no_grad():
        top = torch.stack([_largest_scores(one, q, k) for one in rounds]).amax(0)
    sums = [_sums(one, (q, k, v), top) for one in rounds]
    total, weight = (torch.stack(list(some)).sum(0) for some in zip(*sums, strict=True))
    return (total / weight,)


def _largest_scores(sorted_round: SortedRound, q: Tensor, k: Tensor | None) -> Tensor:
    """Return the largest score of each query in one round, (N, L, 1)."""
    q = sorted_round.sort("q", q)
    k = sorted_round.sort_keys(q, k)
    top = q.new_zeros(*q.shape[:2], 1)
    for tiles in sorted_round.tiles():
        here = sorted_round.scores(tiles, tiles.of(q), tiles.keys(k)).amax(2, keepdim=True)
        top[tiles.which] = here if tiles.near else torch.maximum(tiles.of(top), here)
    return sorted_round.unsort("top", top)


def _sums(sorted_round: SortedRound, qkv: tuple[Tensor, Tensor | None, Tensor], top: Tensor) -> tuple[Tensor, Tensor]:
    """Return Σ p v and Σ p over one round's pairs."""
    q, v, top = (sorted_round.sort(name, t) for name, t in (("q", qkv[0]), ("v", qkv[2]), ("top", top)))
    k = sorted_round.sort_keys(q, qkv[1])
    top.view(*sorted_round.shape)[:, 0] = torch.inf  # an empty tile sees nothing
    total, weight = torch.zeros_like(v), torch.zeros_like(top)
    for tiles in sorted_round.tiles():
        p = (sorted_round.scores(tiles, tiles.of(q), tiles.keys(k)) - tiles.of(top)).exp2()
        tiles.put(total, p @ tiles.keys(v))
        tiles.put(weight, p.sum(2, keepdim=True))
    return sorted_round.unsort("y", total), sorted_round.unsort("weight", weight)
