"""Attention through torch's fused kernels, which never keep an L×S tensor."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from formers.ops.attention.bias import Bias, without_first_rows
from formers.ops.attention.by_distance import works_by_distance
from formers.ops.attention.query_blocks import by_query_blocks
from formers.ops.attention.related import related_attention
from formers.ops.attention.relation import Relation
from formers.ops.attention.sdpa import WIDEST_FLASH, sdpa


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    causal: bool,
    key_mask_bs: Tensor | None,
    bias: Bias,
    scale: float | None,
) -> Tensor:
    """Return `attention` through `scaled_dot_product_attention`.

    In one call where it needs no score mask, else for blocks of query rows. A relation needs the weights themselves,
    unless it only adds to the scores.
    """
    rows, keys, width = q.shape[2], k.shape[2], v.shape[3]
    if not keys or not rows:
        return q.new_zeros(*q.shape[:3], width)
    scale = q.shape[3] ** -0.5 if scale is None else scale
    if isinstance(bias, Relation):
        terms = bias.by_distance(q) if works_by_distance(q, k) else None
        added = bias.added_rows() if terms is None else None
        if added is None:
            return related_attention(q, k, v, causal, key_mask_bs, bias, terms, scale)
        bias = added
    blind = max(rows - keys, 0) if causal else 0
    if blind:  # the first queries come before every key
        q, bias = q[:, :, blind:], without_first_rows(bias, blind)
    if key_mask_bs is not None:
        q, k, v, scale = _fold_key_mask(q, k, v, key_mask_bs, scale)
    else:
        q, scale = _fold_scale(q, scale)
    q, k, v = _pad_to_one_width(q, k, v)
    if causal and q.shape[2] <= 1:  # one query sees every key; a branch, since the fused kernel takes no symbol
        causal = False
    grouped = False
    if q.shape[1] != k.shape[1]:
        grouped = True
    if bias is None and (not causal or rows >= keys):
        y = sdpa(q, k, v, causal=causal, scale=scale, grouped=grouped)
    else:
        y = by_query_blocks(q, k, v, causal, bias, scale)
    y = y if y.shape[3] == width else y[..., :width]
    return pad(y, (0, 0, blind, 0)) if blind else y  # padding by nothing would still copy


def _fold_key_mask(
    q: Tensor, k: Tensor, v: Tensor, key_mask_bs: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor, float]:
    """Hide masked keys in eight more columns of q and k, which take their scores so low that their weight is exactly 0.

    So a mask costs O(L + S), also together with causality, where a score mask would be O(LS). A row that sees masked
    keys only averages their values, which are 0, and passes no gradient: p·(dp − Σ p·dp) with dp = 0.
    """
    # Scaled here, the columns' product is a power of two, which no kernel rounds: off by one rounding between the
    # forward pass and the backward, exp(score − log-sum) would be infinite and the gradient NaN.
    q, scale = q * scale, 1.0
    hidden = ~key_mask_bs[:, None, :, None]
    reach = 2.0**15 if q.dtype == torch.float16 else 2.0**58
    column = k.new_zeros(()).masked_fill(hidden, -reach).expand(*k.shape[:3], 8)
    q = torch.cat([q, q.new_full((1, 1, 1, 1), reach).expand(*q.shape[:3], 8)], 3)
    return q, torch.cat([k.masked_fill(hidden, 0), column], 3), v.masked_fill(hidden, 0), scale


def _fold_scale(q: Tensor, scale: float) -> tuple[Tensor, float]:
    """Multiply q by what keeps the scale from being a power of two, which scores are scaled by without rounding.

    Kernels make the weights again in the backward pass, as exp(score − log-sum): a score that is rounded otherwise than
    in the forward pass puts weights off by so much, about |score| units of rounding, where the forward pass divides it
    out. Half precision, in which q itself would be rounded, leaves the scale to the kernel's wider numbers.
    """
    mantissa, exponent = math.frexp(scale)
    if abs(mantissa) == 0.5 or q.dtype not in (torch.float32, torch.float64):
        return q, scale
    return q * mantissa, 2.0**exponent


def _pad_to_one_width(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return q, k and v filled up with zeros to one width, which the fused kernels want.

    On a GPU heads too wide for flash attention go to a kernel that takes values of another width, a multiple of eight.
    """
    gap = v.shape[3] - q.shape[3]
    if q.is_cuda and max(q.shape[3], v.shape[3]) > WIDEST_FLASH:
        return q, k, (pad(v, (0, -v.shape[3] % 8)) if v.shape[3] % 8 else v)
    if gap == 0:
        return q, k, v
    return (pad(q, (0, gap)), pad(k, (0, gap)), v) if gap > 0 else (q, k, pad(v, (0, -gap)))
