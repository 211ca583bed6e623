"""Tokens that see all and are seen by all, other ones in every sequence of the batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from formers.ops.attention.attention import attention
from formers.ops.sparse_attention.gathered_tiles import GatherPlan
from formers.ops.sparse_attention.pairs import Pairs


class GlobalTokens(NamedTuple):
    """The global tokens of each sequence, filled up to the most that any sequence has.

    Attributes:
        index_bg: which tokens they are.
        real_bg: False for what only fills up.
    """

    index_bg: Tensor
    real_bg: Tensor

    @classmethod
    def of_mask(cls, global_bs: Tensor) -> GlobalTokens:
        """Return the tokens where a mask is True. Waits for the device: their number is a shape."""
        count = int(global_bs.sum(1).max())
        index_bg = global_bs.long().argsort(dim=1, descending=True, stable=True)[:, :count]
        return cls(index_bg, global_bs.gather(1, index_bg))


def with_global_tokens(
    over_pattern: tuple[Tensor, Tensor],
    qkv: tuple[Tensor, Tensor, Tensor],
    patterns: Sequence[Pairs],
    causal: bool,
    key_mask_bs: Tensor | None,
    tokens: GlobalTokens,
    plan: GatherPlan,
) -> Tensor:
    """Return attention over the pattern's pairs, given as (y, lse), and those of the global tokens. O(LG).

    As keys, they are a second part of every query's softmax, merged by the weights exp(lse); as queries, they see
    every key.
    """
    if not tokens.index_bg.shape[1]:
        return over_pattern[0]
    y = _merge(over_pattern, _as_keys(qkv, patterns, causal, tokens, plan))
    return _as_queries(y, qkv, causal, key_mask_bs, tokens, plan)


def _as_keys(
    qkv: tuple[Tensor, Tensor, Tensor],
    patterns: Sequence[Pairs],
    causal: bool,
    tokens: GlobalTokens,
    plan: GatherPlan,
) -> tuple[Tensor, Tensor]:
    """Return y and lse of every query over the global tokens that its pattern does not show it anyway."""
    q, index_bg = qkv[0], tokens.index_bg
    (batch, heads, rows, _), keys = q.shape, qkv[1].shape[2]
    dtype = torch.promote_types(q.dtype, torch.float32)
    k_g, v_g = (_tokens_at(t, index_bg).to(dtype).repeat_interleave(heads // t.shape[1], 1) for t in qkv[1:])
    q_idx = torch.arange(keys - rows, keys, device=q.device)[:, None]
    s = q.to(dtype) @ k_g.mT * plan.scale
    if plan.bias is not None:
        queries = torch.arange(rows, device=q.device)[None]
        s = s + torch.cat([plan.bias(b, queries, index_bg[b : b + 1]) for b in range(batch)])
    known = [
        one.resolve(length=keys, causal=causal).mask(q_idx.clamp(min=0), index_bg[:, None, :]).expand(batch, rows, -1)
        for one in patterns
    ]
    seen_bhlg = torch.stack([known[h % len(known)] for h in range(heads)], 1)
    wanted = tokens.real_bg[:, None, :] & (q_idx >= 0)
    wanted = wanted & (index_bg[:, None, :] <= q_idx) if causal else wanted
    s = s.masked_fill(seen_bhlg | ~wanted[:, None], -torch.inf)
    dead = (s == -torch.inf).all(3, keepdim=True)
    y = s.masked_fill(dead, 0).softmax(3).masked_fill(dead, 0) @ v_g
    lse = s.masked_fill(dead, 0).logsumexp(3).masked_fill(dead.squeeze(3), -torch.inf)
    return y, lse


def _merge(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> Tensor:
    """Return one softmax from two parts of it, each (y, lse)."""
    (y_a, lse_a), (y_b, lse_b) = a, b
    top = torch.maximum(lse_a, lse_b).detach()
    top = top.masked_fill(top == -torch.inf, 0)
    w_a, w_b = (lse_a - top).exp().unsqueeze(3), (lse_b - top).exp().unsqueeze(3)
    total = w_a + w_b
    return ((w_a * y_a + w_b * y_b) / total.masked_fill(total == 0, 1)).to(y_a.dtype)


def _as_queries(
    y: Tensor,
    qkv: tuple[Tensor, Tensor, Tensor],
    causal: bool,
    key_mask_bs: Tensor | None,
    tokens: GlobalTokens,
    plan: GatherPlan,
) -> Tensor:
    """Return y with the rows of the global tokens replaced: they see every key."""
    q, k, v = qkv
    (_, heads, rows, _), keys = q.shape, k.shape[2]
    index_bg = tokens.index_bg
    at_bg = index_bg - (keys - rows)
    real_bg = tokens.real_bg & (at_bg >= 0)
    at_bg = at_bg.clamp(min=0)
    k_idx = torch.arange(keys, device=q.device)
    hidden = (k_idx > index_bg[:, :, None]) if causal else torch.zeros_like(index_bg[:, :, None] > k_idx)
    added = torch.zeros(hidden.shape, dtype=q.dtype, device=q.device).masked_fill(hidden, -torch.inf).unsqueeze(1)
    if plan.bias is not None:
        added = added + torch.cat([plan.bias(b, at_bg[b : b + 1], k_idx[None]) for b in range(len(q))])
    y_g = attention(_tokens_at(q, at_bg), k, v, key_mask_bs=key_mask_bs, bias=added, scale=plan.scale)
    place = torch.where(real_bg, at_bg, rows)[:, None, :, None].expand(-1, heads, -1, y.shape[3])
    return torch.nn.functional.pad(y, (0, 0, 0, 1)).scatter(2, place, y_g.to(y.dtype))[:, :, :rows]


def _tokens_at(t: Tensor, index_bg: Tensor) -> Tensor:
    """Return the rows of a tensor (B, H, L, K) at some tokens of each sequence, (B, H, G, K)."""
    return t.gather(2, index_bg[:, None, :, None].expand(-1, t.shape[1], -1, t.shape[3]))
