"""Kernel attention with its similarities written out: all at once, or those of some queries at a time."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from formers.ops.common.derivatives import is_transformed
from formers.ops.common.dtypes import accumulation_dtype
from formers.ops.common.half_types import multiplies_half
from formers.ops.common.padding import zero_masked
from formers.ops.linear_attention.half_products import scores_product
from formers.ops.linear_attention.inputs import Similarity
from formers.ops.linear_attention.wide_products import wide_product

QUERIES_AT_ONCE = 512
"""Queries in a block."""


def all_at_once(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    kernel: Similarity,
    causal: bool,
    key_mask_bs: Tensor | None,
    normalize: bool,
    scale: float,
) -> Tensor:
    """Return `kernel_attention` from the similarities of all pairs, which the backward pass keeps."""
    k, v = zero_masked(k, key_mask_bs), zero_masked(v, key_mask_bs)
    return _attend(kernel, 0 if causal else None, key_mask_bs, normalize, scale, q, k, v)


def in_blocks(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    kernel: Similarity,
    causal: bool,
    key_mask_bs: Tensor | None,
    normalize: bool,
    scale: float,
) -> Tensor:
    """Return `kernel_attention`, some queries at a time, whose similarities are made again in the backward pass.

    Causal blocks look at no later key. For a GPU, where similarities of all pairs fill the memory before they take
    long.
    """
    k, v = zero_masked(k, key_mask_bs), zero_masked(v, key_mask_bs)
    length, ys = q.shape[2], []
    for start in range(0, max(length, 1), QUERIES_AT_ONCE):
        end = min(start + QUERIES_AT_ONCE, length)
        seen = end if causal else k.shape[2]
        mask = None if key_mask_bs is None else key_mask_bs[:, :seen]
        run = partial(_attend, kernel, start if causal else None, mask, normalize, scale)
        given = q[:, :, start:end], k[:, :, :seen], v[:, :, :seen]
        if torch.is_grad_enabled() and not is_transformed():
            ys.append(checkpoint(run, *given, use_reentrant=False, preserve_rng_state=False))
        else:
            ys.append(run(*given))
    return torch.cat(ys, 2)


def _attend(
    kernel: Similarity,
    first: int | None,
    mask: Tensor | None,
    normalize: bool,
    scale: float,
    q: Tensor,
    k: Tensor,
    v: Tensor,
) -> Tensor:
    """Return y of queries that see all keys, or the first those up to `first` and each one more than the one before."""
    a = kernel(_scores(q, k, scale))
    a = a if mask is None else a.masked_fill(~mask[:, None, None], 0)
    a = a if first is None else a.tril(first)
    y = scores_product(a, v)
    if normalize:
        d = a.sum(-1, keepdim=True)
        y = y / d.masked_fill(d == 0, torch.inf)
    return y.to(v.dtype)


def _scores(q: Tensor, k: Tensor, scale: float) -> Tensor:
    """Return q kᵀ·scale in float32 or wider."""
    if multiplies_half(q, k):
        return wide_product(q, k.mT) * scale
    q, k = (t.to(accumulation_dtype(t.dtype)) for t in (q, k))
    return (q * scale) @ k.mT
