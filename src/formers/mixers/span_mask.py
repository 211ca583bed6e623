"""The soft mask of attention spans, and what is visible under it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from formers.mixers.score_bias import added_rows
from formers.ops import Bias, DistanceTerms, Relation, can_read, is_transformed

ROUND = 32
"""The number of visible keys is rounded up to a multiple of this, so that shapes are few while spans move."""


def folded(share: Tensor) -> Tensor:
    """Return numbers in [0, 1] from any: themselves there, and mirrored at 0 and 1 beyond.

    Clipped, a share that a step of the optimizer takes beyond an end would have no gradient and stay there.
    """
    wide = share.to(torch.promote_types(share.dtype, torch.float32)).remainder(2)
    return torch.where(wide > 1, 2 - wide, wide)


def mean_over_real(share_bhl: Tensor, mask_bl: Tensor | None) -> Tensor:
    """Return the mean over heads and real tokens; over heads where tokens share their spans."""
    if mask_bl is None or share_bhl.shape[2] == 1:
        return share_bhl.mean()
    kept_bhl = share_bhl.masked_fill(~mask_bl.unsqueeze(1), 0)
    return kept_bhl.sum() / (mask_bl.sum().clamp(min=1) * share_bhl.shape[1])


def log_span_mask(
    z_bhl: Tensor, q_index_bl: Tensor, k_index_bs: Tensor, ramp: int, span: int, *, causal: bool
) -> Tensor:
    """Return log m_z(x) = log clip((R + z − x)/R, 0, 1) for the distances x of queries and keys, (B, H, l, s).

    Added to scores, it multiplies their exponentials by m. It is −∞ where m = 0, at x ≥ S and, when causal, later keys.

    Args:
        z_bhl: spans in tokens, (B or 1, H, l or 1), at least 0.
        q_index_bl, k_index_bs: places of queries and keys among the real tokens, (B or 1, l) and (B or 1, s).
        ramp, span: R and S.
    """
    back_b1ls = (q_index_bl.unsqueeze(2) - k_index_bs.unsqueeze(1)).unsqueeze(1)
    distance_b1ls = back_b1ls if causal else back_b1ls.abs()
    m_bhls = (z_bhl.unsqueeze(3) - distance_b1ls) / ramp + 1
    hidden_bhls = (m_bhls <= 0) | (distance_b1ls < 0) | (distance_b1ls >= span)
    return m_bhls.clamp(max=1).masked_fill(hidden_bhls, 1).log().masked_fill(hidden_bhls, -torch.inf)


def visible_keys(z_bhl: Tensor, ramp: int, span: int) -> int:
    """Return to how many tokens any query may give a weight, itself and those to one side: no mask reaches farther.

    Reading the spans waits for the device. Where they cannot be read, it is the whole span: in a compiled model, on the
    meta device, and inside a transform of `torch.func`.
    """
    if not can_read(z_bhl) or is_transformed() or not z_bhl.numel():
        return span
    farthest = float(z_bhl.detach().max()) + ramp
    return min(ROUND * math.ceil(farthest / ROUND), span) if math.isfinite(farthest) else span


def with_score_mask(bias: Bias, mask_bhls: Tensor, q_bhlk: Tensor, k_bgsk: Tensor) -> Bias:
    """Return what a position does to scores, with a mask added to them."""
    if isinstance(bias, Relation):
        return _MaskedRelation(bias, mask_bhls)
    mask_bhls = mask_bhls.to(q_bhlk.dtype)
    if bias is None:
        return mask_bhls
    added = added_rows(bias, q_bhlk, k_bgsk)(0, q_bhlk.shape[2])
    return mask_bhls if added is None else mask_bhls + added


class SpanScores(Relation):
    """The mask of spans that all tokens of a head share, as a table by distance: keys outside of it are not computed.

    Args:
        z_1h1: spans in tokens, at least 0.
        visible: tokens that a query may see, itself and those to one side.
        ramp, span, causal: as in `log_span_mask`.
    """

    def __init__(self, z_1h1: Tensor, visible: int, ramp: int, span: int, *, causal: bool):
        behind = 0 if causal else visible - 1
        distance_1n = torch.arange(1 - visible, behind + 1, device=z_1h1.device).unsqueeze(0)
        query_11 = torch.zeros_like(distance_1n[:, :1])
        mask_1h1n = log_span_mask(z_1h1, query_11, distance_1n, ramp, span, causal=causal)
        self.low, self.table_hn = 1 - visible, mask_1h1n[0, :, 0]

    def by_distance(self, q_bhlk: Tensor) -> DistanceTerms:
        return DistanceTerms(0, self.low, added_hn=self.table_hn, window=True)

    def scores(self, s_bhls: Tensor, q_bhlk: Tensor, k_bgsk: Tensor, start: int) -> Tensor:
        rows, keys = s_bhls.shape[2:]
        row_l = torch.arange(start, start + rows, device=s_bhls.device)
        key_s = torch.arange(keys, device=s_bhls.device)
        entry_ls = key_s - row_l[:, None] - self.low
        outside_ls = (entry_ls < 0) | (entry_ls >= self.table_hn.shape[1])
        added_hls = self.table_hn[:, entry_ls.clamp(0, self.table_hn.shape[1] - 1)]
        return s_bhls + added_hls.masked_fill(outside_ls, -torch.inf).to(s_bhls.dtype)


class _MaskedRelation(Relation):
    """A relation, and a mask added to its scores, (B, H, l, s)."""

    def __init__(self, inner: Relation, mask_bhls: Tensor):
        self.inner, self.mask_bhls = inner, mask_bhls

    def queries(self, q_bhlk: Tensor) -> Tensor:
        return self.inner.queries(q_bhlk)

    def scores(self, s_bhls: Tensor, q_bhlk: Tensor, k_bgsk: Tensor, start: int) -> Tensor:
        stop, keys = start + s_bhls.shape[2], s_bhls.shape[3]
        return self.inner.scores(s_bhls, q_bhlk, k_bgsk, start) + self.mask_bhls[:, :, start:stop, :keys]

    def outputs(self, w_bhls: Tensor, start: int) -> Tensor | None:
        return self.inner.outputs(w_bhls, start)
