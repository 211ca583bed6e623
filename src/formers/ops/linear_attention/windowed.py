"""Softmax in a window and on the first tokens, linear attention to all others, for whole sequences at once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from formers.ops.common.dtypes import without_autocast
from formers.ops.linear_attention.linear_attention import linear_attention
from formers.ops.linear_attention.normalizer import safe_divisor

_BLOCK = 64
"""Queries that meet their keys at once, side by side with all other blocks."""


def windowed_linear_attention(
    q_bhlk: Tensor,
    k_bhlk: Tensor,
    v_bhlv: Tensor,
    phi_q_bhlm: Tensor,
    phi_k_bhlm: Tensor,
    *,
    window: int,
    sinks: int,
    floor: float = 1e-18,
) -> Tensor:
    """Return y_i = (Σ_near e^(s_ij − m_i) v_j + Σ_far φ(q_i)·φ(k_j) v_j) / the same without v_j.

    Near are the `window` tokens up to i and the first `sinks`, far all others before i; s_ij = q_i·k_j/√K, and m_i is
    the largest score of the near ones.

    Near pairs are products of blocks, O(L (window + sinks + 64) K), all blocks at once; far ones are linear attention
    to keys that come `window` tokens late, O(L M V). A sequence begins here and has no padding before its last token.
    Everything is computed in the dtype of the inputs: give float32 or wider.
    Source: Zhang et al. 2024 (LoLCATs), arXiv:2410.10254.
    """
    with without_autocast(q_bhlk.device):
        near = _near_sums(q_bhlk * q_bhlk.shape[3] ** -0.5, k_bhlk, v_bhlv, window, sinks)
        far = _far_sums(phi_q_bhlm, phi_k_bhlm, v_bhlv, window, sinks)
        y_bhlv, total_bhl1 = near if far is None else (near.values + far.values, near.total + far.total)
        return y_bhlv / safe_divisor(total_bhl1, floor)


class _Sums(NamedTuple):
    """Values times their weights, (B, H, L, V), and the weights alone, (B, H, L, 1), each summed over some keys."""

    values: Tensor
    total: Tensor


def _near_sums(q: Tensor, k: Tensor, v: Tensor, window: int, sinks: int) -> _Sums:
    """Return the sums over the window of each query and over the first tokens, weights e^(s − m)."""
    length, before = q.shape[2], window - 1
    spare = -length % _BLOCK
    q = pad(q, (0, 0, 0, spare)).unflatten(2, (-1, _BLOCK))
    band_k, band_v = (pad(t, (0, 0, before, spare)).unfold(2, _BLOCK + before, _BLOCK) for t in (k, v))
    i_nc1 = torch.arange(length + spare, device=q.device).view(-1, _BLOCK, 1)
    j_n1s = i_nc1[:, :1] - before + torch.arange(_BLOCK + before, device=q.device)
    in_band = (j_n1s >= 0) & (j_n1s <= i_nc1) & (i_nc1 - j_n1s < window)
    first_k, first_v = (t[:, :, None, :sinks] for t in (k, v))
    beyond_band = i_nc1 - torch.arange(first_k.shape[3], device=q.device) >= window
    band = (q @ band_k).masked_fill(~in_band, -torch.inf)
    first = (q @ first_k.mT).masked_fill(~beyond_band, -torch.inf)
    largest = torch.cat([band, first], -1).amax(-1, keepdim=True)  # a token is near itself
    band, first = (band - largest).exp(), (first - largest).exp()
    values, total = band @ band_v.mT + first @ first_v, band.sum(-1, keepdim=True) + first.sum(-1, keepdim=True)
    return _Sums(values.flatten(2, 3)[:, :, :length], total.flatten(2, 3)[:, :, :length])


def _far_sums(phi_q: Tensor, phi_k: Tensor, v: Tensor, window: int, sinks: int) -> _Sums | None:
    """Return the sums over all tokens that are not near; None where there are none."""
    length = phi_q.shape[2]
    if length <= window + sinks:
        return None
    late_k, late_v = (pad(t[:, :, sinks : length - window], (0, 0, window + sinks, 0)) for t in (phi_k, v))
    values, _ = linear_attention(phi_q, late_k, late_v, causal=True, normalize=False)
    total, _ = linear_attention(phi_q, late_k, late_v.new_ones(*late_v.shape[:3], 1), causal=True, normalize=False)
    return _Sums(values, total)
