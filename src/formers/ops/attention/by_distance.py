"""Attention with terms by distance, on a CPU.

distance_terms    the terms, and which distances are seen
distance_tiles    tiles of queries and keys, read by distance without a gather
distance_passes   the forward pass and the backward pass, tile by tile
distance_autograd both by autograd, for derivatives of gradients
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from formers.ops.attention.distance_autograd import attention_of_pairs
from formers.ops.attention.distance_passes import DistanceInputs, backward, forward
from formers.ops.attention.distance_terms import DistanceTerms
from formers.ops.attention.distance_tiles import DistancePlan
from formers.ops.common.derivatives import gradients_by_autograd, is_transformed, needs_autograd
from formers.ops.common.dtypes import without_autocast
from formers.ops.common.workspace import should_tile

FEWEST_PAIRS = 1 << 14
"""The fewest pairs of a query and a key that are worked on by distance: with fewer, work on all at once is faster."""


def works_by_distance(q_bhlk: Tensor, k_bgsk: Tensor) -> bool:
    """Return True where attention with terms by distance is made tile by tile, with a backward pass of its own.

    On a CPU, in float32 or float64, with many pairs; not in a compiled model, nor in a transform of `torch.func`.
    """
    exact = q_bhlk.dtype in (torch.float32, torch.float64)
    many = q_bhlk.shape[2] * k_bgsk.shape[2] >= FEWEST_PAIRS
    return exact and should_tile(q_bhlk) and not is_transformed() and many


def attention_by_distance(
    q_bhlk: Tensor,
    k_bgsk: Tensor,
    v_bgsv: Tensor,
    terms: DistanceTerms,
    *,
    causal: bool,
    key_mask_bs: Tensor | None,
    scale: float,
) -> Tensor:
    """Return softmax(q kᵀ·scale + terms) v + what the terms add to the outputs, (B, H, L, V).

    Zeros where a query sees no key; there must be no such query where terms add to outputs. What masked keys and values
    hold must be finite.

    Cost: O(LSK) time for the keys that are seen, with one product more for c·a and one for u. Memory: O((L + S)K), and
    a tile of scores, which are made again in the backward pass.
    """
    (batch, heads, rows, _), keys = q_bhlk.shape, k_bgsk.shape[2]
    seen = terms.visible(rows, keys, causal=causal)
    terms, always_h1v = terms.fitted(seen)
    k_bhsk, v_bhsv = (t.repeat_interleave(heads // t.shape[1], 1) for t in (k_bgsk, v_bgsv))
    tables = (_of_all_heads(t, batch, heads, q_bhlk.dtype) for t in (terms.keys_hnc, terms.added_hn, terms.values_hnv))
    c = None if terms.queries_bhlc is None else terms.queries_bhlc.flatten(0, 1).to(q_bhlk.dtype)
    hidden = None if key_mask_bs is None else ~key_mask_bs.repeat_interleave(heads, 0).unsqueeze(1)
    plan = DistancePlan(rows, keys, terms.first, terms.low, seen, scale)
    with without_autocast(q_bhlk.device):
        qkv = (t.flatten(0, 1) for t in (q_bhlk, k_bhsk, v_bhsv))
        y_nlv, _ = _AttentionByDistance.apply(*qkv, c, *tables, hidden, plan)
    y_bhlv: Tensor = y_nlv.unflatten(0, (batch, heads))
    return y_bhlv if always_h1v is None else y_bhlv + always_h1v.to(y_bhlv.dtype)


def _of_all_heads(table_hnx: Tensor | None, batch: int, heads: int, dtype: torch.dtype) -> Tensor | None:
    """Return a table for every head of every row of the batch, (N, n, …)."""
    if table_hnx is None:
        return None
    return table_hnx.to(dtype).expand(batch, heads, *table_hnx.shape[1:]).flatten(0, 1)


class _AttentionByDistance(torch.autograd.Function):
    """(`DistanceInputs`, `DistancePlan`) → (y, lse)."""

    @staticmethod
    def forward(*inputs: Any) -> tuple[Tensor, Tensor]:
        *tensors, plan = inputs
        return forward(DistanceInputs(*tensors), plan)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        *tensors, ctx.plan = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(*tensors, *output)

    @staticmethod
    def backward(ctx: Any, gy: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, y, lse = ctx.saved_tensors
        x = DistanceInputs(*tensors)
        if needs_autograd(gy):
            form = partial(attention_of_pairs, hidden=x.hidden, plan=ctx.plan)
            return *gradients_by_autograd(form, x[:-1], (gy,)), None, None
        return *backward(x, ctx.plan, y, lse, gy), None, None
