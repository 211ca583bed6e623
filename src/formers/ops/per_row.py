"""Tokens that see all and are seen by all, other ones in every row of the batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from formers.ops.exact import attention
from formers.ops.gathered import Plan
from formers.ops.pairs import Pairs


def with_global_tokens(
    y: Tensor,
    z: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    patterns: Sequence[Pairs],
    causal: bool,
    key_mask_bs: Tensor | None,
    global_bs: Tensor,
    plan: Plan,
) -> Tensor:
    """Attention over the pattern's pairs, (y, z = log Σ exp s), and those of the global tokens. O(LG) for G per row at most.

    As keys, they are a second part of every query's softmax, merged by the weights exp z; as queries, they see every key.
    """
    if key_mask_bs is not None:
        global_bs = global_bs & key_mask_bs
    count = int(global_bs.sum(1).max())
    if not count:
        return y
    idx_bg = global_bs.long().argsort(dim=1, descending=True, stable=True)[:, :count]
    real_bg = global_bs.gather(1, idx_bg)
    columns = _as_keys(q, k, v, patterns, causal, idx_bg, real_bg, plan)
    return _as_queries(_merged((y, z), columns), q, k, v, causal, key_mask_bs, idx_bg, real_bg, plan)


def _as_keys(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    patterns: Sequence[Pairs],
    causal: bool,
    idx_bg: Tensor,
    real_bg: Tensor,
    plan: Plan,
) -> tuple[Tensor, Tensor]:
    """Every query against the global tokens that its pattern does not show it anyway: y and z."""
    (batch, heads, rows, _), keys = q.shape, k.shape[2]
    work = torch.promote_types(q.dtype, torch.float32)
    k_g, v_g = (_rows_at(t, idx_bg).to(work).repeat_interleave(heads // t.shape[1], 1) for t in (k, v))
    q_idx = torch.arange(keys - rows, keys, device=q.device)[:, None]
    s = q.to(work) @ k_g.mT * plan.scale
    if plan.bias is not None:
        queries = torch.arange(rows, device=q.device)[None]
        s = s + torch.cat([plan.bias(b, queries, idx_bg[b : b + 1]) for b in range(batch)])
    known = [
        one.resolve(length=keys, causal=causal).mask(q_idx.clamp(min=0), idx_bg[:, None, :]).expand(batch, rows, -1)
        for one in patterns
    ]
    seen_bhlg = torch.stack([known[h % len(known)] for h in range(heads)], 1)
    wanted = real_bg[:, None, :] & (q_idx >= 0)
    wanted = wanted & (idx_bg[:, None, :] <= q_idx) if causal else wanted
    s = s.masked_fill(seen_bhlg | ~wanted[:, None], -torch.inf)
    dead = (s == -torch.inf).all(3, keepdim=True)
    y = s.masked_fill(dead, 0).softmax(3).masked_fill(dead, 0) @ v_g
    z = s.masked_fill(dead, 0).logsumexp(3).masked_fill(dead.squeeze(3), -torch.inf)
    return y, z


def _merged(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> Tensor:
    """One softmax from two parts of it."""
    (y_a, z_a), (y_b, z_b) = a, b
    top = torch.maximum(z_a, z_b).detach()
    top = top.masked_fill(top == -torch.inf, 0)
    w_a, w_b = (z_a - top).exp().unsqueeze(3), (z_b - top).exp().unsqueeze(3)
    total = w_a + w_b
    return ((w_a * y_a + w_b * y_b) / total.masked_fill(total == 0, 1)).to(y_a.dtype)


def _as_queries(
    y: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    causal: bool,
    key_mask_bs: Tensor | None,
    idx_bg: Tensor,
    real_bg: Tensor,
    plan: Plan,
) -> Tensor:
    """y with the rows of the global tokens replaced: they see every key."""
    (_, heads, rows, _), keys = q.shape, k.shape[2]
    at_bg = idx_bg - (keys - rows)
    real_bg = real_bg & (at_bg >= 0)
    at_bg = at_bg.clamp(min=0)
    k_idx = torch.arange(keys, device=q.device)
    hidden = (k_idx > idx_bg[:, :, None]) if causal else torch.zeros_like(idx_bg[:, :, None] > k_idx)
    added = torch.zeros(hidden.shape, dtype=q.dtype, device=q.device).masked_fill(hidden, -torch.inf).unsqueeze(1)
    if plan.bias is not None:
        added = added + torch.cat([plan.bias(b, at_bg[b : b + 1], k_idx[None]) for b in range(len(q))])
    y_g = attention(_rows_at(q, at_bg), k, v, key_mask_bs=key_mask_bs, bias=added, scale=plan.scale)
    place = torch.where(real_bg, at_bg, rows)[:, None, :, None].expand(-1, heads, -1, y.shape[3])
    return torch.nn.functional.pad(y, (0, 0, 0, 1)).scatter(2, place, y_g.to(y.dtype))[:, :, :rows]


def _rows_at(t: Tensor, idx_bg: Tensor) -> Tensor:
    """The rows of a tensor (B, H, L, K) at the tokens of each row, (B, H, G, K)."""
    return t.gather(2, idx_bg[:, None, :, None].expand(-1, t.shape[1], -1, t.shape[3]))
