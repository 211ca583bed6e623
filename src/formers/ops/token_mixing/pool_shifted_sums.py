"""Pooling as a sum of shifted copies of the sequence."""

from __future__ import annotations

import torch
from torch import Tensor

from formers.ops.common.padding import packing, pad_input, unpad_input
from formers.ops.token_mixing.pool_state import PoolState


def by_shifted_sums(
    x_bld: Tensor,
    window: int,
    causal: bool,
    mask_bl: Tensor | None,
    state: PoolState | None,
) -> tuple[Tensor, PoolState]:
    """Return `pool_mix`, the mean as a sum of shifted copies, over sequences without gaps."""
    (batch, length, width), keep = x_bld.shape, window - 1
    pack = None if mask_bl is None else packing(mask_bl)
    x = x_bld if pack is None else unpad_input(x_bld, pack)
    real_b = x.new_full((batch,), length, dtype=torch.long) if pack is None else pack.length_b
    past = x.new_zeros(batch, keep, width) if state is None else state.tokens_bwd
    known_b = real_b.new_zeros(batch) if state is None else state.count_b

    before = keep if causal else window // 2
    padded = torch.cat([past if causal else past[:, :before], x, x.new_zeros(batch, keep - before, width)], 1)
    total = sum((padded[:, i : i + length] for i in range(1, window)), padded[:, :length])
    at = torch.arange(length, device=x.device)
    left_bl = (at + known_b[:, None]).clamp(max=before)
    right_bl = (real_b[:, None] - 1 - at).clamp(min=0, max=keep - before)
    y = total / (left_bl + right_bl + 1).unsqueeze(-1).to(x.dtype) - x
    y = y if pack is None else pad_input(y, pack)

    everything = torch.cat([past, x], 1)
    last = real_b[:, None] + torch.arange(keep, device=x.device)
    tokens = everything.gather(1, last[..., None].expand(batch, keep, width))
    return y, PoolState(tokens, (known_b + real_b).clamp(max=keep))
