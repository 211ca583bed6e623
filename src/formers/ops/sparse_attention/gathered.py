"""Sparse attention over lists of keys: gather, a few batched products, scatter. Work and memory ∝ the listed pairs.

The scores of a tile, some blocks of queries of some heads, stay in the cache. Only the inputs are kept for the backward
pass, which makes the scores again: with p = softmax(s), s = scale·q kᵀ + bias, and g the gradient of y = p v,

    ds = p ⊙ (g vᵀ − rowsum(p ⊙ g vᵀ) + g_lse)    dq = scale·ds k    dk = scale·dsᵀ q    dv = pᵀ g

where g_lse is the gradient of lse = log Σ exp s, which is given out where parts of a softmax are to be merged.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, bmm
from torch.utils.checkpoint import checkpoint

from formers.ops.common.derivatives import gradients_by_autograd, is_transformed, needs_autograd
from formers.ops.common.dtypes import without_autocast
from formers.ops.common.operations import counted_times, each_kind
from formers.ops.common.row_index import Rows, as_rows, contiguous_strides, from_heads_last, heads_last_strides
from formers.ops.common.tracing import fixed_size, outside_tracing
from formers.ops.sparse_attention.block_lists import BLOCK, BlockLists, block_lists, heads_by_pattern
from formers.ops.sparse_attention.gathered_scores import GatheredInputs, log_sum_exp
from formers.ops.sparse_attention.gathered_tiles import GatherPlan, GatherTile, gather_tiles
from formers.ops.sparse_attention.global_tokens import GlobalTokens, with_global_tokens
from formers.ops.sparse_attention.numbers import patterns_of
from formers.ops.sparse_attention.pair_bias import PairBias
from formers.ops.sparse_attention.pairs import Pairs

_KEPT = 64
"""Patterns and lengths that are remembered with their block lists."""


def sparse_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    patterns: tuple[Pairs, ...],
    causal: bool,
    key_mask_bs: Tensor | None,
    global_bs: Tensor | None,
    bias: PairBias | None,
    scale: float,
) -> Tensor:
    """Return `sparse_attention` through lists of gathered keys."""
    if key_mask_bs is not None:
        real = key_mask_bs[:, None, :, None]
        k, v = k.where(real, 0), v.where(real, 0)
    rows, keys = fixed_size(q.shape[2]), fixed_size(k.shape[2])
    lists = _lists_of_heads(q.shape[1], rows, keys, causal, str(q.device), *[one.number() for one in patterns])
    plan = GatherPlan(lists, scale, bias, with_lse=global_bs is not None)
    with without_autocast(q.device):  # tiles are computed in float32 anyway
        y, lse = _attend(q, k, v, key_mask_bs, plan)
        if global_bs is None:
            return y
        tokens = GlobalTokens.of_mask(global_bs if key_mask_bs is None else global_bs & key_mask_bs)
        return with_global_tokens((y, lse), (q, k, v), patterns, causal, key_mask_bs, tokens, plan)


def _attend(q: Tensor, k: Tensor, v: Tensor, mask_bs: Tensor | None, plan: GatherPlan) -> tuple[Tensor, Tensor]:
    """Return what `_Gathered` does, by the way that gives the derivatives that are wanted."""
    if is_transformed():
        return _by_autograd(q, k, v, mask_bs, plan, recompute=False)
    learns = plan.bias is not None and torch.is_grad_enabled() and plan.bias.requires_grad
    attend = _by_autograd if torch.compiler.is_compiling() or learns else _Gathered.apply
    y, lse = attend(q, k, v, mask_bs, plan)
    return y, lse


def _lists_of_heads(
    heads: int, rows: int, keys: int, causal: bool, device: str, *numbers: int
) -> tuple[tuple[BlockLists, tuple[int, ...]], ...]:
    """Return the block lists of each different pattern, and the heads that have it."""
    found = heads_by_pattern(patterns_of(numbers), heads)
    with outside_tracing():  # the lists are kept, and read by this process
        return tuple((_resolved_lists(one, rows, keys, causal, device), tuple(which)) for one, which in found)


# What `torch.compiler.assume_constant_result` does, without importing the compiler: nothing of this is traced.
_lists_of_heads._dynamo_marked_constant = True  # type: ignore[attr-defined]


@lru_cache(_KEPT)
def _resolved_lists(pattern: Pairs, rows: int, keys: int, causal: bool, device: str) -> BlockLists:
    return block_lists(pattern.resolve(length=keys, causal=causal), rows, keys, BLOCK, device)


class _Gathered(torch.autograd.Function):
    """(q, k, v, key mask or None, plan) → y (B, H, L, V), and lse (B, H, L), empty where it is not wanted."""

    @staticmethod
    def forward(q: Tensor, k: Tensor, v: Tensor, mask_bs: Tensor | None, plan: GatherPlan) -> tuple[Tensor, Tensor]:
        inputs = GatheredInputs(q, k, v, mask_bs, plan)
        y = Rows(_new_rows(plan, q, v.shape[3], q.dtype), heads_last_strides(q))
        lse = q.new_full((len(y.flat) if plan.with_lse else 0, 1), -torch.inf, dtype=inputs.dtype)
        for tile, times in each_kind(gather_tiles(plan, q), GatherTile.sizes, q):
            with counted_times(times):
                here = inputs.gather(tile)
                s = inputs.scores(tile, here)
                if plan.with_lse:
                    Rows(lse, y.strides).scatter(here.queries, s.logsumexp(2, keepdim=True))
                p, _ = inputs.weights(s)
                y.scatter(here.queries, bmm(p, here.v, out=inputs.workspace.out("y", *p.shape[:2], v.shape[3])))
        return from_heads_last(y.flat, q), from_heads_last(lse, q).squeeze(3) if plan.with_lse else lse

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        *tensors, ctx.plan = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, gy: Tensor, g_lse: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, mask_bs = ctx.saved_tensors
        if needs_autograd(gy, g_lse):
            form = partial(_by_autograd, mask_bs=mask_bs, plan=ctx.plan, recompute=False)
            return *gradients_by_autograd(form, (q, k, v), (gy, g_lse)), None, None
        with without_autocast(gy.device):
            return *_gradients(GatheredInputs(q, k, v, mask_bs, ctx.plan), (q, k, v), gy, g_lse), None, None


def _gradients(
    inputs: GatheredInputs, qkv: tuple[Tensor, Tensor, Tensor], gy: Tensor, g_lse: Tensor
) -> tuple[Tensor, ...]:
    """Return the gradients of q, k and v."""
    plan, workspace, dtype, gy_rows = inputs.plan, inputs.workspace, inputs.dtype, as_rows(gy)
    q, k, v = qkv
    dq = Rows(_new_rows(plan, q, q.shape[3], dtype), contiguous_strides(q))
    dk, dv = (
        Rows(t.new_zeros(t.numel() // t.shape[3], t.shape[3], dtype=dtype), contiguous_strides(t)) for t in (k, v)
    )
    for tile in gather_tiles(plan, q):
        here = inputs.gather(tile)
        queries, keys = here.queries, here.keys
        p, alive = inputs.weights(inputs.scores(tile, here))
        g = gy_rows.gather(queries, dtype, workspace, "g")
        dv.scatter_add_product(keys, p.mT, g, 1.0, workspace)
        dp = bmm(g, here.v.mT, out=workspace.out("dp", *p.shape))
        ds = torch._softmax_backward_data(dp, p, 2, p.dtype, grad_input=workspace.reuse(dp))
        if plan.with_lse:
            g_lse_p = as_rows(g_lse.unsqueeze(3)).gather(queries, dtype, workspace, "g_lse")
            ds = ds.addcmul_(p, g_lse_p.where(alive, 0) if alive is not None else g_lse_p)
        dq.scatter_product(queries, ds, here.k, plan.scale, workspace)
        dk.scatter_add_product(keys, ds.mT, here.q, plan.scale, workspace)
    return tuple(rows.flat.view_as(t).to(t.dtype) for rows, t in ((dq, q), (dk, k), (dv, v)))


def _new_rows(plan: GatherPlan, q: Tensor, width: int, dtype: torch.dtype) -> Tensor:
    """Return memory for `width` numbers per query, (B·H·L, width): zeros, unless all of it will be written."""
    all_written = all(lists.queries == q.shape[2] for lists, _ in plan.lists)
    new = q.new_empty if all_written else q.new_zeros
    return new(q.shape[0] * q.shape[1] * q.shape[2], width, dtype=dtype)


def _by_autograd(
    q: Tensor, k: Tensor, v: Tensor, mask_bs: Tensor | None, plan: GatherPlan, recompute: bool = True
) -> tuple[Tensor, Tensor]:
    """Return what `_Gathered` does, differentiated by autograd: for a bias that learns, compilers, second derivatives.

    The same cost, as every tile is computed again in the backward pass; compilers decide that for themselves. Without
    `recompute` the weights of all listed pairs are kept.
    """
    y_strides, compiling = heads_last_strides(q), torch.compiler.is_compiling()
    recompute = recompute and not compiling

    def attend(tile: GatherTile, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        inputs = GatheredInputs(tensors[0], tensors[1], tensors[2], mask_bs, plan, keep=True)
        here = inputs.gather(tile)
        s = inputs.scores(tile, here)
        p, _ = inputs.weights(s)
        return bmm(p, here.v).to(q.dtype), log_sum_exp(s) if plan.with_lse else s[:0, 0, 0]

    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for tile in gather_tiles(plan, q, whole=compiling):
        y, lse = checkpoint(attend, tile, q, k, v, use_reentrant=False) if recompute else attend(tile, q, k, v)
        found.append((tile.queries.flat(y_strides), y.flatten(0, 1), lse.flatten()))
    batch, heads, length, _ = q.shape
    y = q.new_zeros(batch * heads * length, v.shape[3])
    dtype = torch.promote_types(q.dtype, torch.float32)
    lse = q.new_full((batch * heads * length if plan.with_lse else 0,), -torch.inf, dtype=dtype)
    if found:
        index, ys, lses = (torch.cat(list(some)) for some in zip(*found, strict=True))
        y = y.index_copy(0, index, ys)
        lse = lse.index_copy(0, index, lses) if plan.with_lse else lse
    return from_heads_last(y, q), from_heads_last(lse.unsqueeze(1), q).squeeze(3) if plan.with_lse else lse
