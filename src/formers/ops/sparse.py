"""Exact attention over the pairs of a pattern."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from formers.ops import plain_sparse
from formers.ops.common import checks
from formers.ops.common.dispatch import pick
from formers.ops.common.dtypes import without_autocast
from formers.ops.exact import check_bias
from formers.ops.flex import flex
from formers.ops.gathered import Gathered, PairBias, Plan, by_autograd
from formers.ops.layout import BLOCK, Layout, layout, of_heads
from formers.ops.pairs import Pairs
from formers.ops.per_row import with_global_tokens

_REMEMBERED = 64
"""How many patterns and lengths are remembered with their layouts."""


def sparse_attention(
    q_bhlk: Tensor,
    k_bhsk: Tensor,
    v_bhsv: Tensor,
    pattern: Pairs | Sequence[Pairs],
    *,
    causal: bool = False,
    key_mask_bs: Tensor | None = None,
    global_bs: Tensor | None = None,
    bias: Tensor | PairBias | None = None,
    scale: float | None = None,
    impl: str = "auto",
) -> Tensor:
    """Scaled dot-product attention over chosen pairs, `softmax(q kᵀ·scale + bias) v` with one set S_i of keys per query.

    Args:
        q_bhlk: queries (B, H, L, K).
        k_bhsk, v_bhsv: keys (B, G, S, K) and values (B, G, S, V); G divides H, and H/G query heads share one.
        pattern: which pairs, as `formers.patterns` makes them; several are given in turn to the heads.
        causal: the pattern's causal form: nothing later than the query. With L ≠ S, causal or not, the last query stands
            at the last key: query i is token i + S − L.
        key_mask_bs: (B, S) bool, True where a key is real. What masked keys and values hold, NaN too, does not matter.
        global_bs: (B, S) bool, tokens that see all and are seen by all, row by row, whatever the pattern says;
            masked ones do not.
        bias: added to the scaled scores: a tensor that broadcasts to (B, H, L, S), or a function `bias(b, q_nl, k_ns)` that
            gives it for row b of the batch between queries and keys named by their indices, (n, H or 1, l, s).
        scale: 1/√K by default.
        impl: "auto", "gathered", "flex" (FlexAttention; its restrictions raise) or "naive" (from the formula).

    Returns:
        (B, H, L, V). A query that sees no key gives zeros, and its gradient is zero.

    Cost: time and memory ∝ the pairs, rounded up to blocks of queries; O((L + S)K) is kept for the backward pass. The
    layout is derived once for a pattern and lengths.
    Raises `ValueError` for shapes, dtypes, masks or patterns that do not fit.
    """
    size = checks.sizes(q=(q_bhlk, "BhLK"), k=(k_bhsk, "BGSK"), v=(v_bhsv, "BGSV"))
    heads = q_bhlk.shape[1]
    checks.same_dtype(q=q_bhlk, k=k_bhsk, v=v_bhsv)
    checks.groups(heads, size["G"])
    checks.mask("key_mask_bs", key_mask_bs, size["B"], size["S"])
    checks.mask("global_bs", global_bs, size["B"], size["S"])
    if isinstance(bias, Tensor):
        check_bias(bias, (size["B"], heads, size["L"], size["S"]))
        bias = _picked_from(bias)
    patterns = _check_patterns(pattern, heads, None if causal else size["S"])
    form = pick("sparse_attention", impl, {"gathered": _gathered, "flex": flex, "naive": plain_sparse.sparse_attention})
    return form(
        q_bhlk,
        k_bhsk,
        v_bhsv,
        patterns,
        causal=causal,
        key_mask_bs=key_mask_bs,
        global_bs=global_bs,
        bias=bias,
        scale=q_bhlk.shape[3] ** -0.5 if scale is None else scale,
    )


def _check_patterns(pattern: Pairs | Sequence[Pairs], heads: int, length: int | None) -> tuple[Pairs, ...]:
    """The patterns as a tuple, each asked whether it fits the length."""
    patterns = tuple(pattern) if isinstance(pattern, (list, tuple)) else (pattern,)
    if not patterns or len(patterns) > heads:
        raise ValueError(
            f"{len(patterns)} patterns were given for {heads} heads; expected one, or up to one for each head"
        )
    for one in patterns:
        if length is not None:  # a causal sequence may still grow
            one.fits(length)
    return patterns


def _picked_from(bias: Tensor) -> PairBias:
    """A bias tensor as a function of indices."""
    whole = bias[(None,) * (4 - bias.dim())]

    def pairs(b: int, q_nl: Tensor, k_ns: Tensor) -> Tensor:
        row = whole[b if len(whole) > 1 else 0]
        q_at = q_nl if row.shape[1] > 1 else torch.zeros_like(q_nl)
        k_at = k_ns if row.shape[2] > 1 else torch.zeros_like(k_ns)
        return row[:, q_at[:, :, None], k_at[:, None, :]].transpose(0, 1)

    return pairs


def _gathered(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    patterns: Sequence[Pairs],
    *,
    causal: bool,
    key_mask_bs: Tensor | None,
    global_bs: Tensor | None,
    bias: PairBias | None,
    scale: float,
) -> Tensor:
    """Lists of keys, gathered: `formers.ops.gathered`."""
    if key_mask_bs is not None:
        real = key_mask_bs[:, None, :, None]
        k, v = k.where(real, 0), v.where(real, 0)
    parts = layouts(q.shape[1], q.shape[2], k.shape[2], causal, str(q.device), *patterns)
    plan = Plan(parts, scale, bias, normalizer=global_bs is not None)
    with without_autocast(q.device):  # pieces are computed in float32 anyway
        y, z = run(q, k, v, key_mask_bs, plan)
        return (
            y
            if global_bs is None
            else with_global_tokens(y, z, q, k, v, patterns, causal, key_mask_bs, global_bs, plan)
        )


def run(q: Tensor, k: Tensor, v: Tensor, key_mask_bs: Tensor | None, plan: Plan) -> tuple[Tensor, Tensor]:
    if torch.compiler.is_compiling() or (torch.is_grad_enabled() and _learns(plan)):
        return by_autograd(q, k, v, key_mask_bs, plan)
    return Gathered.apply(q, k, v, key_mask_bs, plan)


def _learns(plan: Plan) -> bool:
    """Whether the bias has a gradient, seen on a single pair."""
    if plan.bias is None:
        return False
    groups = [group for part, _ in plan.parts for group in part.groups]
    return bool(groups) and plan.bias(0, groups[0].q_nl[:1, :1], groups[0].k_ns[:1, :1]).requires_grad


def layouts(
    heads: int, rows: int, keys: int, causal: bool, device: str, *patterns: Pairs
) -> tuple[tuple[Layout, tuple[int, ...]], ...]:
    """The layout of each different pattern, and the heads that have it."""
    return tuple((_resolved(one, rows, keys, causal, device), tuple(which)) for one, which in of_heads(patterns, heads))


# What `torch.compiler.assume_constant_result` does, without importing the compiler: nothing of this is traced.
layouts._dynamo_marked_constant = True  # type: ignore[attr-defined]


@lru_cache(_REMEMBERED)
def _resolved(pattern: Pairs, rows: int, keys: int, causal: bool, device: str) -> Layout:
    return layout(pattern.resolve(length=keys, causal=causal), rows, keys, BLOCK, device)
