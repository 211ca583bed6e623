"""Sparse attention through torch's FlexAttention, which is made for GPUs."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from formers.ops.sparse_attention.inputs import SparseInputs
from formers.ops.sparse_attention.pair_bias import PairBias
from formers.ops.sparse_attention.pairs import Pairs

_SMALLEST_WIDTH = 16
"""The narrowest heads that Triton's matrix products take."""
_KEPT = 64
"""Patterns and sizes whose block masks are kept."""


def unsupported_reasons(inputs: SparseInputs) -> list[str]:
    """Return why FlexAttention cannot run on these inputs, a sentence each."""
    q, k, v, device = inputs.q_bhlk, inputs.k_bhsk, inputs.v_bhsv, inputs.q_bhlk.device.type
    reasons = []
    if inputs.bias is not None:
        reasons.append("it takes no bias of pairs; use impl='gathered'")
    if device == "cpu" and torch.is_grad_enabled() and any(t.requires_grad for t in (q, k, v)):
        reasons.append("FlexAttention has no gradients on a CPU; use impl='gathered' or torch.no_grad()")
    if device == "cuda" and min(q.shape[3], v.shape[3]) < _SMALLEST_WIDTH:
        reasons.append(f"on a GPU heads are at least {_SMALLEST_WIDTH} wide, these are {q.shape[3]} and {v.shape[3]}")
    if device not in ("cpu", "cuda"):
        reasons.append(f"there is no FlexAttention for {device} tensors; use impl='gathered'")
    return reasons


def sparse_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    patterns: tuple[Pairs, ...],
    causal: bool,
    key_mask_bs: Tensor | None,
    global_bs: Tensor | None,
    bias: PairBias | None,
    scale: float,
) -> Tensor:
    """Return `sparse_attention` with the pattern as FlexAttention's `mask_mod`, for inputs that it supports."""
    grid = (q.shape[1], q.shape[2], k.shape[2])
    if key_mask_bs is None and global_bs is None:
        blocks = _kept_block_mask(patterns, grid, causal, str(q.device))
    else:
        blocks = _block_mask(patterns, grid, causal, str(q.device), key_mask_bs, global_bs)
    if key_mask_bs is not None:
        k, v = (t.where(key_mask_bs[:, None, :, None], 0) for t in (k, v))
    return _kernel(q.device.type)(q, k, v, block_mask=blocks, scale=scale, enable_gqa=q.shape[1] != k.shape[1])


@lru_cache(_KEPT)
@torch.inference_mode(False)  # a mask first made for inference must serve training later
def _kept_block_mask(patterns: tuple[Pairs, ...], grid: tuple[int, int, int], causal: bool, device: str) -> Any:
    """Return the block mask of patterns that every sequence shares; kept, as making one costs O(LS)."""
    return _block_mask(patterns, grid, causal, device, None, None)


def _block_mask(
    patterns: tuple[Pairs, ...],
    grid: tuple[int, int, int],
    causal: bool,
    device: str,
    key_mask_bs: Tensor | None,
    global_bs: Tensor | None,
) -> Any:
    """Return FlexAttention's block mask of (heads, queries, keys), one for each sequence where masks are given."""
    from torch.nn.attention.flex_attention import create_block_mask  # here, because it imports the compiler

    heads, rows, keys = grid
    if global_bs is not None and key_mask_bs is not None:
        global_bs = global_bs & key_mask_bs
    known = [one.resolve(length=keys, causal=causal) for one in patterns]
    mask_mod = _mask_mod(known, keys - rows, causal, key_mask_bs, global_bs)
    batch = next((len(mask) for mask in (key_mask_bs, global_bs) if mask is not None), None)
    return create_block_mask(mask_mod, batch, heads if len(known) > 1 else None, rows, keys, device)


def _mask_mod(
    known: list[Pairs], offset: int, causal: bool, key_mask_bs: Tensor | None, global_bs: Tensor | None
) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """Return FlexAttention's test of single pairs, where query 0 is token `offset`."""

    def seen(b: Tensor, h: Tensor, q_idx: Tensor, k_idx: Tensor) -> Tensor:
        token = q_idx + offset
        found = known[0].mask(token, k_idx)
        for i, one in enumerate(known[1:], 1):
            found = torch.where(h % len(known) == i, one.mask(token, k_idx), found)
        if global_bs is not None:
            either = global_bs[b, token] | global_bs[b, k_idx]
            found = found | (either & (k_idx <= token) if causal else either)
        return found & key_mask_bs[b, k_idx] if key_mask_bs is not None else found

    return seen


@lru_cache(4)
def _kernel(device: str) -> Any:
    """Return the kernel, compiled where that is worth its time."""
    from torch.nn.attention.flex_attention import flex_attention

    return flex_attention if device == "cpu" else torch.compile(flex_attention)
