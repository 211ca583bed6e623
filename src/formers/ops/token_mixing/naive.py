"""Token mixing straight from the formulas: any dtype, O(L²) allowed. The fast forms are tested against it."""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor

from formers.ops.token_mixing.pool_state import PoolState


def fourier_mix(x_bld: Tensor) -> Tensor:
    """Return y_nd = Re Σ_le x_le exp(−2πi (nl/L + de/D)) = Σ_le x_le cos(2π (nl/L + de/D))."""
    _, length, width = x_bld.shape
    work = torch.promote_types(x_bld.dtype, torch.float32)
    n, d = (torch.arange(size, device=x_bld.device) for size in (length, width))
    a_nl = torch.outer(n, n).remainder(length).to(work) * (2 * pi / length)
    b_de = torch.outer(d, d).remainder(width).to(work) * (2 * pi / width)
    x = x_bld.to(work)
    return (a_nl.cos() @ x @ b_de.cos() - a_nl.sin() @ x @ b_de.sin()).to(x_bld.dtype)


def pool_mix(
    x_bld: Tensor,
    window: int = 3,
    causal: bool = False,
    mask_bl: Tensor | None = None,
    state: PoolState | None = None,
) -> tuple[Tensor, PoolState]:
    """Return y_i = mean of x over the window around i (when causal, its last tokens) − x_i, among the real tokens."""
    keep = window - 1
    y_bld, tails, counts = torch.zeros_like(x_bld), [], []
    for b, x_ld in enumerate(x_bld):
        real = torch.arange(len(x_ld)) if mask_bl is None else mask_bl[b].nonzero().flatten()
        past = x_ld[:0] if state is None else state.tokens_bwd[b, keep - int(state.count_b[b]) :]
        row = torch.cat([past, x_ld[real]])
        for i in range(len(past), len(row)):
            near = row[max(i - keep, 0) : i + 1] if causal else row[max(i - window // 2, 0) : i + window // 2 + 1]
            y_bld[b, real[i - len(past)]] = near.mean(0) - row[i]
        tail = row[max(len(row) - keep, 0) :]
        tails.append(torch.cat([tail.new_zeros(keep - len(tail), x_ld.shape[-1]), tail]))
        counts.append(len(tail))
    return y_bld, PoolState(torch.stack(tails), torch.tensor(counts, device=x_bld.device))
