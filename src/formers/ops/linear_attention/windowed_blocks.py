"""Linear attention beyond a window whose near pairs are products of blocks, and the sums over the far ones."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from formers.ops.common.dtypes import accumulation_dtype
from formers.ops.linear_attention.linear_attention import linear_attention
from formers.ops.linear_attention.normalizer import safe_divisor

_BLOCK = 64
"""Queries that meet their keys at once, side by side with all other blocks."""
_ONES = 16
"""Columns of ones beside the values, one of which is needed."""


def windowed_linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    phi_q: Tensor,
    phi_k: Tensor,
    log_gain_h: Tensor | None,
    window: int,
    sinks: int,
    floor: float,
) -> Tensor:
    """Return the op of the same name, near pairs as products of blocks, all blocks at once, with all derivatives."""
    dtype, work = v.dtype, torch.promote_types(accumulation_dtype(v.dtype), phi_k.dtype)
    q, k, v, phi_q, phi_k = (t.to(work) for t in (q, k, v, phi_q, phi_k))
    phi_q = phi_q if log_gain_h is None else phi_q * log_gain_h.to(work).exp()[:, None, None]
    near = _near_sums(q * q.shape[3] ** -0.5, k, v, window, sinks)
    far = far_sums(phi_q, phi_k, v, window, sinks)
    y, total = (near.values, near.total) if far is None else (near.values + far.values, near.total + far.total)
    return (y / safe_divisor(total, floor)).to(dtype)


class Sums(NamedTuple):
    """Values times their weights, (B, H, L, V), and the weights alone, (B, H, L, 1), each summed over some keys."""

    values: Tensor
    total: Tensor


def _near_sums(q: Tensor, k: Tensor, v: Tensor, window: int, sinks: int) -> Sums:
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
    return Sums(values.flatten(2, 3)[:, :, :length], total.flatten(2, 3)[:, :, :length])


def far_sums(phi_q: Tensor, phi_k: Tensor, v: Tensor, window: int, sinks: int) -> Sums | None:
    """Return the sums over all tokens that are not near, in the dtype of features; None where there are none.

    They are linear attention to keys that come `window` tokens late, sinks masked. One column more than the values' is
    all ones, and as many as keep rows at whole words of memory are beside it.
    """
    length, width = v.shape[2:]
    if length <= window + sinks:
        return None
    late_k = pad(phi_k, (0, 0, window, -window))
    late_v = pad(v.to(phi_k.dtype), (0, _ONES, window, -window), value=1.0)  # ones above, too, for keys of zeros
    real_bl = None if not sinks else (torch.arange(length, device=v.device) >= window + sinks).expand(len(v), -1)
    sums, _ = linear_attention(phi_q, late_k, late_v, causal=True, key_mask_bs=real_bl, normalize=False)
    values, total, _ = sums.split([width, 1, _ONES - 1], 3)
    return Sums(values, total)
