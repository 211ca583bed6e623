"""Fourier mixing as two matrix products with cosine and sine tables, which are kept."""

from __future__ import annotations

from functools import lru_cache
from math import pi

import torch
from torch import Tensor

from formers.ops.common.dtypes import accumulation_dtype, without_autocast


def by_matmul(x_bld: Tensor) -> Tensor:
    """Return C_L (x C_D) − S_L (x S_D), O(LD (L + D))."""
    x = x_bld.to(accumulation_dtype(x_bld.dtype))
    made = tables.__wrapped__ if torch.compiler.is_compiling() else tables  # a compiler keeps what it makes
    cos_l, sin_l = made(x.shape[1], x.dtype, x.device)
    cos_d, sin_d = made(x.shape[2], x.dtype, x.device)
    with without_autocast(x.device):
        return (cos_l @ (x @ cos_d) - sin_l @ (x @ sin_d)).to(x_bld.dtype)


@lru_cache(maxsize=32)
@torch.inference_mode(False)  # a table first made for inference must serve training later
def tables(size: int, dtype: torch.dtype, device: torch.device, places: int | None = None) -> tuple[Tensor, Tensor]:
    """Return cos and sin of 2π ij/size for i and j below `places`, by default size.

    They are reduced as integers, so that large i·j cost no digits.
    """
    i = torch.arange(size if places is None else places, device=device)
    angle = torch.outer(i, i).remainder(size).double() * (2 * pi / size)
    return angle.cos().to(dtype), angle.sin().to(dtype)
