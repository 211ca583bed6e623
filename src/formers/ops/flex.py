"""Sparse attention through torch's FlexAttention, which is made for GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from formers.ops.gathered import PairBias
from formers.ops.pairs import Pairs


def flex(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    patterns: Sequence[Pairs],
    *,
    causal: bool,
    key_mask_bs: Tensor | None,
    global_bs: Tensor | None,
    bias: PairBias | None,
    scale: float,
) -> Tensor:
    """The pattern as FlexAttention's `mask_mod`. No bias; on a CPU no gradients: both raise `ValueError`."""
    from torch.nn.attention.flex_attention import create_block_mask  # here, because it imports the compiler

    if bias is not None:
        raise ValueError("sparse_attention: impl 'flex' takes no bias; use impl='gathered'")
    if q.device.type == "cpu" and torch.is_grad_enabled() and any(t.requires_grad for t in (q, k, v)):
        raise ValueError(
            "sparse_attention: FlexAttention has no gradients on a CPU; use impl='gathered' or torch.no_grad()"
        )
    (batch, heads, rows, _), keys = q.shape, k.shape[2]
    if global_bs is not None and key_mask_bs is not None:
        global_bs = global_bs & key_mask_bs
    known = [one.resolve(length=keys, causal=causal) for one in patterns]

    def seen(b: Tensor, h: Tensor, q_idx: Tensor, k_idx: Tensor) -> Tensor:
        token = q_idx + (keys - rows)
        found = known[0].mask(token, k_idx)
        for i, one in enumerate(known[1:], 1):
            found = torch.where(h % len(known) == i, one.mask(token, k_idx), found)
        if global_bs is not None:
            either = global_bs[b, token] | global_bs[b, k_idx]
            found = found | (either & (k_idx <= token) if causal else either)
        return found & key_mask_bs[b, k_idx] if key_mask_bs is not None else found

    by_row = key_mask_bs is not None or global_bs is not None
    blocks = create_block_mask(
        seen, batch if by_row else None, heads if len(known) > 1 else None, rows, keys, str(q.device)
    )
    if key_mask_bs is not None:
        k, v = (t.where(key_mask_bs[:, None, :, None], 0) for t in (k, v))
    return kernel(q.device.type)(q, k, v, block_mask=blocks, scale=scale, enable_gqa=heads != k.shape[1])


@lru_cache(4)
def kernel(device: str) -> Any:
    """Compiled where that is worth its time."""
    from torch.nn.attention.flex_attention import flex_attention

    return flex_attention if device == "cpu" else torch.compile(flex_attention)
