"""Pooling as a mixer: the mean of the neighbours, minus the token itself."""

from __future__ import annotations

import torch
from torch import Tensor

from formers.ops import plain
from formers.ops.common import checks
from formers.ops.common.dispatch import pick
from formers.ops.common.padding import packing, pad_input, unpad_input
from formers.ops.types import PoolState


def pool_mix(
    x_bld: Tensor,
    *,
    window: int = 3,
    causal: bool = False,
    mask_bl: Tensor | None = None,
    state: PoolState | None = None,
    impl: str = "auto",
) -> tuple[Tensor, PoolState]:
    """y_i = mean of x over the window around i − x_i; what lies outside the sequence is not counted.

    Args:
        x_bld: (B, L, D).
        window: tokens in the window, odd unless causal.
        causal: pool the last `window` tokens, i itself included.
        mask_bl: (B, L) bool, True where a token is real. Neighbours are counted among the real tokens, wherever the
            padding is; masked positions give 0, and what they hold, NaN too, does not matter.
        state: what came before this call; needs causal.
        impl: "auto", "torch" or "naive".

    Returns:
        y (B, L, D) and the last `window` − 1 real tokens, which continue a causal sequence.

    Cost: O(L D window) time, O(L D) memory.
    Source: Yu et al. 2022 (PoolFormer, MetaFormer), arXiv:2111.11418.
    Raises `ValueError` for an even window that is not causal, a state without causal, or shapes that do not fit.
    """
    size = checks.sizes(x=(x_bld, "BLD"))
    checks.mask("mask_bl", mask_bl, size["B"], size["L"])
    if window < 1 or (not causal and window % 2 == 0):
        raise ValueError(f"window is {window}; expected a positive number, odd unless causal, so that it has a middle")
    if state is not None:
        if not causal:
            raise ValueError("a state was given, but only causal pooling continues one; use causal=True")
        wanted = (size["B"], window - 1, size["D"])
        if tuple(state.tokens_bwd.shape) != wanted:
            raise ValueError(f"state.tokens_bwd has shape {tuple(state.tokens_bwd.shape)}; expected {wanted}")
    form = pick("pool_mix", impl, {"torch": _shifted_sums, "naive": plain.pool_mix})
    return form(x_bld, window=window, causal=causal, mask_bl=mask_bl, state=state)


def _shifted_sums(
    x_bld: Tensor,
    *,
    window: int,
    causal: bool,
    mask_bl: Tensor | None,
    state: PoolState | None,
) -> tuple[Tensor, PoolState]:
    """The mean as a sum of shifted copies, over rows without gaps."""
    (batch, length, width), keep = x_bld.shape, window - 1
    pack = None if mask_bl is None else packing(mask_bl)
    x = x_bld if pack is None else unpad_input(x_bld, pack)
    real_b = x.new_full((batch,), length, dtype=torch.long) if pack is None else pack.length_b
    past = x.new_zeros(batch, keep, width) if state is None else state.tokens_bwd
    known_b = real_b.new_zeros(batch) if state is None else state.count_b

    before = keep if causal else window // 2
    rows = torch.cat([past if causal else past[:, :before], x, x.new_zeros(batch, keep - before, width)], 1)
    total = sum((rows[:, i : i + length] for i in range(1, window)), rows[:, :length])
    at = torch.arange(length, device=x.device)
    left_bl = torch.minimum(at + known_b[:, None], torch.tensor(before, device=x.device))
    right_bl = (real_b[:, None] - 1 - at).clamp(min=0, max=keep - before)
    y = total / (left_bl + right_bl + 1).unsqueeze(-1).to(x.dtype) - x
    y = y if pack is None else pad_input(y, pack)

    everything = torch.cat([past, x], 1)
    last = real_b[:, None] + torch.arange(keep, device=x.device)
    tokens = everything.gather(1, last[..., None].expand(batch, keep, width))
    return y, PoolState(tokens, (known_b + real_b).clamp(max=keep))
