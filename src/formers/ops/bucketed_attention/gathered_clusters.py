"""Clustered attention as a batch of small attentions over gathered tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from formers.ops.attention import attention
from formers.ops.bucketed_attention.special_scores import SELF_SCORE
from formers.ops.common.dtypes import accumulation_dtype
from formers.ops.common.half_types import multiplies_half


def clustered_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    queries_bhcw: Tensor,
    keys_bhcw: Tensor,
    causal: bool,
    key_mask_bl: Tensor | None,
    self_last: bool,
    scale: float,
) -> Tensor:
    """Return the op of the same name: picked tokens side by side, attention, and back by adding up."""
    batch, heads, _, _ = queries_bhcw.shape
    work = accumulation_dtype(q.dtype)
    if not multiplies_half(q, k, v):
        q, k, v = (t.to(work) for t in (q, k, v))
    real_keys = None if key_mask_bl is None else _picked(key_mask_bl, keys_bhcw).flatten(0, 2)
    bias = _bias(queries_bhcw, keys_bhcw, causal, self_last, q.dtype)
    y = attention(
        _gathered(q, queries_bhcw),
        _gathered(k, keys_bhcw),
        _gathered(v, keys_bhcw),
        key_mask_bs=real_keys,
        bias=bias,
        scale=scale,
    )
    y = y.view(batch, heads, -1, y.shape[-1]).to(work)
    ones = y.new_ones(*y.shape[:3], 1)
    if key_mask_bl is not None:
        ones = ones * _picked(key_mask_bl, queries_bhcw).flatten(2).unsqueeze(-1)
    at = queries_bhcw.flatten(2).unsqueeze(-1)
    total = torch.zeros_like(v, dtype=work).scatter_add(2, at.expand_as(y), y * ones)
    return total / torch.zeros_like(v[..., :1], dtype=work).scatter_add(2, at, ones).clamp(min=1)


def _bias(queries_bhcw: Tensor, keys_bhcw: Tensor, causal: bool, self_last: bool, dtype: torch.dtype) -> Tensor | None:
    """Return what is added to the scores of each cluster, (B·H·C, 1, W, W), or None."""
    if not causal and not self_last:
        return None
    ahead = keys_bhcw.unsqueeze(-2) - queries_bhcw.unsqueeze(-1)
    bias = torch.zeros_like(ahead, dtype=dtype)
    if self_last:
        bias = bias.masked_fill(ahead == 0, max(SELF_SCORE, torch.finfo(dtype).min / 2))
    bias = bias.masked_fill(ahead > 0, -torch.inf) if causal else bias
    return bias.flatten(0, 2).unsqueeze(1)


def _gathered(t_bhlx: Tensor, index_bhcw: Tensor) -> Tensor:
    """Return the picked tokens as a batch of one-headed sequences, (B·H·C, 1, W, ·)."""
    index = index_bhcw.flatten(2).unsqueeze(-1)
    found = t_bhlx.gather(2, index.expand(-1, -1, -1, t_bhlx.shape[3]))
    return found.view(-1, 1, index_bhcw.shape[3], t_bhlx.shape[3])


def _picked(mask_bl: Tensor, index_bhcw: Tensor) -> Tensor:
    """Return the mask at the picked positions, (B, H, C, W)."""
    return mask_bl[:, None, None].expand(*index_bhcw.shape[:3], -1).gather(3, index_bhcw)
