"""Kernel attention through FlexAttention: weights a/Σa are the softmax of log a, a function of each score."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from formers.ops.common.flex_kernel import (
    TILE,
    ScoreMod,
    block_mask,
    flex_kernel,
    flex_reasons,
    in_tiles,
    mask_in_tiles,
)
from formers.ops.common.padding import zero_masked
from formers.ops.common.tracing import fixed_size
from formers.ops.linear_attention.inputs import KernelInputs, Similarity

_KEPT = 64
"""Lengths whose tiles are kept."""


def unsupported_reasons(inputs: KernelInputs) -> list[str]:
    """Return why FlexAttention cannot run on these inputs, a sentence each."""
    reasons = flex_reasons(inputs.q_bhlk, inputs.k_bhsk, inputs.v_bhsv, instead="blocks")
    if not inputs.normalize:
        reasons.append("weights of a softmax are normalised, and these are not; use impl='blocks'")
    return reasons


def kernel_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    kernel: Similarity,
    causal: bool,
    key_mask_bs: Tensor | None,
    normalize: bool,
    scale: float,
) -> Tensor:
    """Return the op of the same name, normalised. First derivatives alone; impl="blocks" has them all.

    Lengths are rounded up to whole tiles, so that one compiled kernel serves 128 of them.
    """
    length, _ = (fixed_size(t.shape[2]) for t in (q, k))  # tiles are laid out by both
    k, v = zero_masked(k, key_mask_bs), zero_masked(v, key_mask_bs)
    key_mask_bs = mask_in_tiles(key_mask_bs, k, causal)
    q, k, v = in_tiles(q), in_tiles(k), in_tiles(v)
    y: Tensor = flex_kernel(
        q,
        k,
        v,
        ("kernel", kernel, causal, key_mask_bs is None),
        block_mask=_causal_tiles(q.shape[2], q.device) if causal else None,
        score_mod=_logarithm(kernel, key_mask_bs),
        scale=scale,
    )
    return y[:, :, :length]


def _logarithm(kernel: Similarity, key_mask_bs: Tensor | None) -> ScoreMod:
    """Return what is done to scores: the logarithm of their similarity taken, and −inf at masked keys."""
    if key_mask_bs is None:
        return lambda score, b, h, q, k: kernel(score).log()
    return lambda score, b, h, q, k: torch.where(key_mask_bs[b, k], kernel(score).log(), -torch.inf)


def _causal_tiles(length: int, device: torch.device) -> Any:
    """Return the block mask of the pairs j ≤ i, kept from call to call. A compiled graph makes its own."""
    return (_make_tiles if torch.compiler.is_compiling() else _kept_tiles)(length, device)


@torch.inference_mode(False)  # tiles first made for inference must serve training later
def _make_tiles(length: int, device: torch.device) -> Any:
    at = torch.arange(length // TILE, device=device)
    some_nm, every_nm = at[:, None] >= at, at[:, None] > at
    return block_mask(some_nm[None, None], every_nm[None, None], _up_to_itself, (length, length))


_kept_tiles = lru_cache(_KEPT)(_make_tiles)


def _up_to_itself(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
    return k <= q
