"""Attention inside buckets and clusters from their definitions: every pair compared."""

from __future__ import annotations

import torch
from torch import Tensor

from formers.ops.bucketed_attention.special_scores import HIDDEN_SCORE, SELF_SCORE


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
    """Return the op of the same name, places in the sorted sequence found by counting."""
    length = q.shape[2]
    real = q.new_ones(q.shape[0], length, dtype=torch.bool) if key_mask_bl is None else key_mask_bl
    i = torch.arange(length, device=q.device)
    mine, other = bucket_bhrl[..., :, None], bucket_bhrl[..., None, :]
    first = (other < mine) | ((other == mine) & (i < i[:, None]))
    place = (first & real[:, None, None, None, :]).sum(-1)
    far = place[..., :, None] - place[..., None, :]
    chunks = place[..., :, None] // chunk - place[..., None, :] // chunk
    near = ((far >= 0) & (far <= chunk)) if causal else ((chunks == 0) | (chunks == 1))
    met = ((mine == other) & near).any(2) & real[:, None, None, :] & real[:, None, :, None]
    k = q / (q.square().sum(-1, keepdim=True) + 1e-12).sqrt() if k is None else k
    scores = q @ k.mT * scale
    if self_last:
        scores = scores.masked_fill(i == i[:, None], SELF_SCORE)
    weights = scores.masked_fill(~met, HIDDEN_SCORE).softmax(-1) * met.any(-1, keepdim=True)
    return weights @ v


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
    """Return the op of the same name, cluster by cluster over all pairs, those outside it hidden."""
    length = q.shape[2]
    at = torch.arange(length, device=q.device)
    real = q.new_ones(q.shape[0], length, dtype=torch.bool) if key_mask_bl is None else key_mask_bl
    total, count = torch.zeros_like(v), v.new_zeros(*v.shape[:3], 1)
    itself = SELF_SCORE * torch.eye(length, dtype=q.dtype, device=q.device) if self_last else 0
    for c in range(queries_bhcw.shape[2]):
        asks = (queries_bhcw[:, :, c, :, None] == at).any(2) & real[:, None]
        shows = (keys_bhcw[:, :, c, :, None] == at).any(2) & real[:, None]
        seen = asks[..., :, None] & shows[..., None, :]
        seen = seen.tril() if causal else seen
        scores = (q @ k.mT * scale + itself).masked_fill(~seen, HIDDEN_SCORE)
        total = total + (scores.softmax(-1) * seen.any(-1, keepdim=True)) @ v
        count = count + asks[..., None]
    return total / count.clamp(min=1)
