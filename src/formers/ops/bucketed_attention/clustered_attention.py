"""Attention inside clusters, each of which has picked its queries and its keys."""

from __future__ import annotations

import torch
from torch import Tensor

from formers.ops.attention import attention
from formers.ops.bucketed_attention.tiled import ITSELF
from formers.ops.common import checks
from formers.ops.common.dispatch import pick
from formers.ops.common.dtypes import accumulation_dtype, without_autocast


def clustered_attention(
    q_bhlk: Tensor,
    k_bhlk: Tensor,
    v_bhlv: Tensor,
    queries_bhcw: Tensor,
    keys_bhcw: Tensor,
    *,
    causal: bool = False,
    key_mask_bl: Tensor | None = None,
    self_last: bool = False,
    scale: float | None = None,
    impl: str = "auto",
) -> Tensor:
    """For each of C clusters softmax(q kᵀ·scale) v over its w queries and keys; a token's results are averaged.

    Args:
        q_bhlk, k_bhlk, v_bhlv: queries and keys (B, H, L, K), values (B, H, L, V).
        queries_bhcw, keys_bhcw: the positions that each cluster picked, (B, H, C, w), int64, none twice in one cluster.
        causal: a query sees keys at positions up to its own. What the clusters picked is the caller's business: picks
            made over the whole sequence depend on the future.
        key_mask_bl: (B, L) bool, True where a token is real. Others are left out even where they were picked.
        self_last: a token attends to itself only where it meets no other (that pair's score is lowered by 100,000).
        scale: 1/√K by default.
        impl: "auto", "torch" or "naive" (cluster by cluster over all pairs).

    Returns:
        (B, H, L, V); zeros for tokens that no cluster picked as a query.

    Cost: O(C w² (K + V)).
    Source: Roy et al. 2021 (Routing Transformer), arXiv:2003.05997.
    """
    size = checks.sizes(
        q=(q_bhlk, "BHLK"),
        k=(k_bhlk, "BHLK"),
        v=(v_bhlv, "BHLV"),
        queries=(queries_bhcw, "BHCW"),
        keys=(keys_bhcw, "BHCW"),
    )
    checks.same_dtype(q=q_bhlk, k=k_bhlk, v=v_bhlv)
    checks.mask("key_mask_bl", key_mask_bl, size["B"], size["L"])
    scale = size["K"] ** -0.5 if scale is None else scale
    if key_mask_bl is not None:
        q_bhlk, k_bhlk, v_bhlv = (t.masked_fill(~key_mask_bl[:, None, :, None], 0) for t in (q_bhlk, k_bhlk, v_bhlv))
    form = pick("clustered_attention", impl, {"torch": _gathered, "naive": plain})
    with without_autocast(q_bhlk.device):
        work = [t.to(accumulation_dtype(t.dtype)) for t in (q_bhlk, k_bhlk, v_bhlv)]
        return form(*work, queries_bhcw, keys_bhcw, causal, key_mask_bl, self_last, scale).to(q_bhlk.dtype)


def plain(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    queries: Tensor,
    keys: Tensor,
    causal: bool,
    mask_bl: Tensor | None,
    self_last: bool,
    scale: float,
) -> Tensor:
    """All pairs for every cluster, those outside it hidden."""
    length = q.shape[2]
    real = q.new_ones(q.shape[0], length, dtype=torch.bool) if mask_bl is None else mask_bl
    total, count = torch.zeros_like(v), v.new_zeros(*v.shape[:3], 1)
    itself = ITSELF * torch.eye(length, dtype=q.dtype, device=q.device) if self_last else 0
    for c in range(queries.shape[2]):
        asks = (queries[:, :, c, :, None] == torch.arange(length, device=q.device)).any(2) & real[:, None]
        shows = (keys[:, :, c, :, None] == torch.arange(length, device=q.device)).any(2) & real[:, None]
        seen = asks[..., :, None] & shows[..., None, :]
        seen = seen.tril() if causal else seen
        scores = (q @ k.mT * scale + itself).masked_fill(~seen, -1e30)
        total = total + (scores.softmax(-1) * seen.any(-1, keepdim=True)) @ v
        count = count + asks[..., None]
    return total / count.clamp(min=1)


def _gathered(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    queries: Tensor,
    keys: Tensor,
    causal: bool,
    mask_bl: Tensor | None,
    self_last: bool,
    scale: float,
) -> Tensor:
    """The picked rows side by side, a batch of small attentions, and back by adding up."""
    q_cw, k_cw, v_cw = rows(q, queries), rows(k, keys), rows(v, keys)
    real_k = None if mask_bl is None else _picked(mask_bl, keys).flatten(0, 2)
    ahead = keys.unsqueeze(-2) - queries.unsqueeze(-1)
    bias = None
    if self_last:
        bias = ITSELF * (ahead == 0).to(q.dtype)
    if causal:
        bias = (q.new_zeros(ahead.shape) if bias is None else bias).masked_fill(ahead > 0, -torch.inf)
    bias = None if bias is None else bias.flatten(0, 2).unsqueeze(1)
    y = attention(q_cw, k_cw, v_cw, key_mask_bs=real_k, bias=bias, scale=scale)
    batch, heads, _, _ = queries.shape
    y = y.view(batch, heads, -1, y.shape[-1])
    ones = y.new_ones(*y.shape[:3], 1)
    if mask_bl is not None:
        ones = ones * _picked(mask_bl, queries).flatten(2).unsqueeze(-1)
    at = queries.flatten(2).unsqueeze(-1)
    total = torch.zeros_like(v).scatter_add(2, at.expand_as(y), y * ones)
    return total / torch.zeros_like(v[..., :1]).scatter_add(2, at, ones).clamp(min=1)


def rows(t_bhlx: Tensor, index_bhcw: Tensor) -> Tensor:
    """The picked rows as a batch of one-headed sequences, (B·H·C, 1, w, X)."""
    index = index_bhcw.flatten(2).unsqueeze(-1)
    found = t_bhlx.gather(2, index.expand(-1, -1, -1, t_bhlx.shape[3]))
    return found.view(-1, 1, index_bhcw.shape[3], t_bhlx.shape[3])


def _picked(mask_bl: Tensor, index_bhcw: Tensor) -> Tensor:
    """The mask at the picked positions, (B, H, C, w)."""
    return mask_bl[:, None, None].expand(*index_bhcw.shape[:3], -1).gather(3, index_bhcw)
