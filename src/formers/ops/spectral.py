"""Fourier mixing: the real part of a 2-D Fourier transform over length and width."""

from __future__ import annotations

import torch
from torch import Tensor

from formers.ops import checks, plain
from formers.ops.dispatch import pick


def fourier_mix(x_bld: Tensor, *, impl: str = "auto") -> Tensor:
    """y = Re F_length F_width x, unnormalised: y_nd = Σ_le x_le cos(2π (nl/L + de/D)).

    Args:
        x_bld: (B, L, D). float16 and bfloat16 are computed in float32; y is about √(LD) times as large as x, so
            float16 may overflow where its range ends.
        impl: "auto", "torch" or "plain" (two full matrix products).

    Returns:
        (B, L, D), in the dtype of x. There is no mask: padding mixes in.

    Cost: O(LD (log L + log D)), or O(LD (L + D)) as matrix products, chosen by measured crossover.
    Source: Lee-Thorp et al. 2021, arXiv:2105.03824.
    """
    checks.sizes(x=(x_bld, "BLD"))
    checks.same_dtype(x=x_bld)
    return pick("fourier_mix", impl, {"torch": by_fft, "plain": plain.fourier_mix})(x_bld)


def by_fft(x_bld: Tensor) -> Tensor:
    """By the real-input transform over the width: the other half follows from y[n, d] = y[−n, −d]."""
    x = x_bld.to(torch.promote_types(x_bld.dtype, torch.float32))
    width = x.shape[-1]
    half = torch.fft.fft(torch.fft.rfft(x, dim=2), dim=1).real
    rest = half[..., 1 : width - width // 2].flip(2)
    rest = rest.roll(-1, 1).flip(1)
    return torch.cat([half, rest], 2).to(x_bld.dtype)
