"""Fourier mixing: the real part of a 2-D Fourier transform over length and width."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import pi
from typing import Any

import torch
from torch import Tensor

from formers.ops import plain
from formers.ops.common import checks
from formers.ops.common.dispatch import pick
from formers.ops.common.dtypes import accumulation_dtype, without_autocast

MATMUL_UP_TO = 1 << 20
"""Two matrix products are faster than a transform while B·L·D·(L + D), half their multiplications, is at most this: they
are fewer calls, and a small transform is mostly calls. Measured by `benchmarks/fourier.py`."""


def fourier_mix(x_bld: Tensor, *, impl: str = "auto") -> Tensor:
    """y = Re F_length F_width x, unnormalised: y_nd = Σ_le x_le cos(2π (nl/L + de/D)).

    Args:
        x_bld: (B, L, D). float16 and bfloat16 are computed in float32; y is about √(LD) times as large as x, which float16
            may not hold.
        impl: "auto" (by measured crossover), "torch" (real-input transform), "matmul" (two matrix products with cosine and
            sine tables), or "naive" (from the formula).

    Returns:
        (B, L, D), in the dtype of x. There is no mask: padding mixes in.

    Cost: O(LD (log L + log D)), or O(LD (L + D)) as matrix products; memory O(LD). The map is symmetric, so its gradient
    is the same map.
    Source: Lee-Thorp et al. 2021, arXiv:2105.03824.
    Raises `ValueError` for an empty axis, or an impl or a dtype that does not exist.
    """
    size = checks.sizes(x=(x_bld, "BLD"))
    checks.same_dtype(x=x_bld)
    if not size["L"] or not size["D"]:
        raise ValueError(
            f"x has shape {tuple(x_bld.shape)}; a Fourier transform needs at least one entry on every axis"
        )
    forms: dict[str, Callable[[Tensor], Tensor]] = {
        "torch": _by_transform,
        "matmul": _by_matmul,
        "naive": plain.fourier_mix,
    }
    if impl == "auto" and x_bld.numel() * (size["L"] + size["D"]) <= MATMUL_UP_TO:
        forms = {"matmul": _by_matmul}
    return pick("fourier_mix", impl, forms)(x_bld)


def _by_transform(x_bld: Tensor) -> Tensor:
    return _RealFourier.apply(x_bld.to(accumulation_dtype(x_bld.dtype))).to(x_bld.dtype)


class _RealFourier(torch.autograd.Function):
    """The map is symmetric: the gradient of its input is the map of the gradient of its output."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return transform(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, gy: Tensor) -> Tensor:
        return _RealFourier.apply(gy)


def transform(x_bld: Tensor) -> Tensor:
    """Columns 0 … D/2 by a real-input transform; the others repeat them backwards, y[n, D − d] = y[−n, d]."""
    half = torch.fft.rfft2(x_bld, dim=(1, 2)).real
    computed = half.shape[2]
    y = torch.empty_like(x_bld, memory_format=torch.contiguous_format)
    y[:, :, :computed] = half
    implied = y[:, :, 1 : x_bld.shape[2] - computed + 1]  # read from y: half is every other number of a complex tensor
    backwards = implied.flip(1, 2)
    y[:, 1:, computed:] = backwards[:, :-1]
    y[:, :1, computed:] = backwards[:, -1:]  # −0 is 0: the first row repeats itself
    return y


def _by_matmul(x_bld: Tensor) -> Tensor:
    """C_L (x C_D) − S_L (x S_D)."""
    x = x_bld.to(accumulation_dtype(x_bld.dtype))
    made = tables.__wrapped__ if torch.compiler.is_compiling() else tables  # a compiler keeps what it makes
    cos_l, sin_l = made(x.shape[1], x.dtype, x.device)
    cos_d, sin_d = made(x.shape[2], x.dtype, x.device)
    with without_autocast(x.device):
        return (cos_l @ (x @ cos_d) - sin_l @ (x @ sin_d)).to(x_bld.dtype)


@lru_cache(maxsize=32)
@torch.inference_mode(False)  # a table first made for inference must serve training later
def tables(size: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """cos and sin of 2π ij/size, (size, size); the angles are reduced as integers, so that large i·j cost no digits."""
    i = torch.arange(size, device=device)
    angle = torch.outer(i, i).remainder(size).double() * (2 * pi / size)
    return angle.cos().to(dtype), angle.sin().to(dtype)
