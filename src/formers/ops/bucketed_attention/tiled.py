"""Attention inside buckets, sorted and cut into tiles.

In each round tokens lie in the order (bucket, position), cut into tiles of T. Most pairs that meet lie in one tile or
in neighbours: a tile's scores are a matrix product with itself and the tile before. A causal token may also meet one
that lies `chunk` places before it; with T = chunk/2, half of what a bucket holds on average is nearer than that, and
only the tiles whose first bucket reaches further back are worked on once more, with the tile before those. A pair that
met in an earlier round is hidden in a later one.

    tiling           sorting, and which pairs meet
    tiles            tiles, their keys and their scores
    tiled_forward    softmax of each tile, merged
    tiled_backward   gradients, tile by tile
    tiled_autograd   both passes by autograd, for derivatives of gradients
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from formers.ops.bucketed_attention.tiled_autograd import attention_of_tiles
from formers.ops.bucketed_attention.tiled_backward import SavedForBackward, backward, through_unit
from formers.ops.bucketed_attention.tiled_forward import forward
from formers.ops.bucketed_attention.tiles import heads_at_once
from formers.ops.bucketed_attention.tiling import Tiling, tiling
from formers.ops.common.derivatives import gradients_by_autograd, is_transformed, needs_autograd
from formers.ops.common.workspace import Workspace, should_tile

SMALLEST = 32
"""The fewest tokens in a tile that chunks are halved to: below, products are no faster for it."""


def bucketed_attention(
    q: Tensor,
    k: Tensor | None,
    v: Tensor,
    bucket_bhrl: Tensor,
    key_mask_bl: Tensor | None,
    chunk: int,
    causal: bool,
    self_last: bool,
    scale: float,
) -> Tensor:
    """Return the op of the same name, tokens padded to whole tiles."""
    batch, heads, length, _ = q.shape
    chunk = min(chunk, length)
    back = 2 if causal and should_tile(q) and chunk % 2 == 0 and chunk >= 2 * SMALLEST else 1
    missing = -length % (chunk // back)
    real = q.new_ones(batch, length, dtype=torch.bool) if key_mask_bl is None else key_mask_bl
    real = pad(real, (0, missing))
    bucket = pad(bucket_bhrl, (0, missing)).masked_fill(~real[:, None, None], torch.iinfo(torch.int64).max)
    plan = tiling(bucket.flatten(0, 1), chunk, back, causal, self_last, scale)
    q, v = (_padded(t, missing).flatten(0, 1).contiguous() for t in (q, v))
    k = None if k is None else _padded(k, missing).flatten(0, 1).contiguous()
    (y,) = attention_of_tiles(q, k, v, plan) if is_transformed() else _TiledAttention.apply(q, k, v, *plan)[:1]
    y = y.unflatten(0, (batch, heads))[:, :, :length]
    return y if key_mask_bl is None else y.masked_fill(~key_mask_bl[:, None, :, None], 0)


def _padded(t_bhlx: Tensor, missing: int) -> Tensor:
    return pad(t_bhlx, (0, 0, 0, missing)) if missing else t_bhlx


class _TiledAttention(torch.autograd.Function):
    """(q, k or None for q/|q|, v (N, L, ·), and a tiling) → (y, lse = log₂ Σ 2^s), (N, L, V) and (N, L, 1)."""

    @staticmethod
    def forward(q: Tensor, k: Tensor | None, v: Tensor, *plan: Any) -> tuple[Tensor, Tensor]:
        whole, workspace = Tiling(*plan), Workspace(q, q.dtype, enabled=should_tile(q))
        y, lse = torch.empty_like(v), v.new_empty(*v.shape[:2], 1)
        for some in heads_at_once(q, whole.tile):
            forward(q, k, v, whole.of_heads(some), workspace, y[some], lse[some])
        return y, lse

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        q, k, v, order, place, u, *ctx.rest = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(q, k, v, order, place, u, *output)

    @staticmethod
    def backward(ctx: Any, gy: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, order, place, u, y, lse = ctx.saved_tensors
        whole, workspace = Tiling(order, place, u, *ctx.rest), Workspace(q, q.dtype, enabled=should_tile(q))
        if needs_autograd(gy):
            form = partial(attention_of_tiles, tiling=whole)
            return *gradients_by_autograd(form, (q, k, v), (gy,)), *[None] * len(whole)
        gq, gk, gv = torch.empty_like(q), None if k is None else torch.empty_like(k), torch.empty_like(v)
        saved = SavedForBackward(q, k, v, gy.contiguous(), lse, (gy * y).sum(-1, keepdim=True))
        for some in heads_at_once(q, whole.tile):
            gk_some = torch.empty_like(q[some]) if gk is None else gk[some]
            backward(saved, whole.of_heads(some), workspace, (gq[some], gk_some, gv[some]))
            if gk is None:
                gq[some] += through_unit(q[some], gk_some)
        return gq, gk, gv, *[None] * len(whole)
