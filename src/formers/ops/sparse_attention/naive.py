"""Sparse attention straight from the formula: dense attention under the pattern's mask, O(LS) memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from formers.ops.attention import naive
from formers.ops.sparse_attention.pair_bias import PairBias
from formers.ops.sparse_attention.pairs import Pairs


def sparse_attention(
    q_bhlk: Tensor,
    k_bhsk: Tensor,
    v_bhsv: Tensor,
    patterns: Sequence[Pairs],
    causal: bool = False,
    key_mask_bs: Tensor | None = None,
    global_bs: Tensor | None = None,
    bias: PairBias | None = None,
    scale: float | None = None,
) -> Tensor:
    """Return softmax(q kᵀ·scale + bias) v over the pairs of the patterns and those of the global tokens."""
    (batch, heads, rows, _), keys = q_bhlk.shape, k_bhsk.shape[2]
    q_idx = torch.arange(keys - rows, keys, device=q_bhlk.device)[:, None]
    k_idx = torch.arange(keys, device=q_bhlk.device)[None, :]
    seen_h = [
        p.resolve(length=keys, causal=causal).mask(q_idx.clamp(min=0), k_idx).expand(rows, keys) for p in patterns
    ]
    seen_bhls = torch.stack([seen_h[h % len(seen_h)] for h in range(heads)]).unsqueeze(0)
    if global_bs is not None:
        global_bs = global_bs if key_mask_bs is None else global_bs & key_mask_bs
        either_bhls = (global_bs[:, q_idx.clamp(min=0)] | global_bs[:, None, :]).unsqueeze(1)
        seen_bhls = seen_bhls | (either_bhls & (k_idx <= q_idx) if causal else either_bhls)
    hidden = ~(seen_bhls & (q_idx >= 0))
    added = torch.zeros(hidden.shape, dtype=torch.promote_types(q_bhlk.dtype, torch.float32), device=q_bhlk.device)
    if bias is not None:
        made = [bias(b, torch.arange(rows, device=q_bhlk.device)[None], k_idx) for b in range(batch)]
        added = added + torch.cat(made)
    return naive.attention(
        q_bhlk,
        k_bhsk,
        v_bhsv,
        key_mask_bs=key_mask_bs,
        bias=added.masked_fill(hidden, -torch.inf).to(q_bhlk.dtype),
        scale=scale,
    )
