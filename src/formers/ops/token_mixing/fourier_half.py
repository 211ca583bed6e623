"""Fourier mixing as two matrix products in half precision, which a GPU's tensor cores sum in float32."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from formers.ops.common.dtypes import without_autocast
from formers.ops.token_mixing.fourier_matmul import tables


def by_half_products(x_bld: Tensor) -> Tensor:
    """Return [C_L, −S_L] ([x C_D; x S_D]), O(LD (L + D)), in the dtype of x.

    Factors and x [C_D, S_D] are rounded to that dtype, about as the result is; sums are float32, both terms of y in
    one, so that y is finite where it fits the dtype.
    """
    _, length, width = x_bld.shape
    made = factors.__wrapped__ if torch.compiler.is_compiling() else factors  # a compiler keeps what it makes
    of_width, of_length = made(length, width, x_bld.dtype, x_bld.device)
    with without_autocast(x_bld.device):
        cos_bld, sin_bld = (x_bld @ of_width).chunk(2, 2)
        y_bld: Tensor = of_length @ torch.cat([cos_bld, sin_bld], 1)
    return y_bld


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # a table first made for inference must serve training later
def factors(length: int, width: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return [C_D, S_D], (D, 2·D), and [C_L, −S_L], (L, 2·L), made in float32 and rounded once."""
    (cos_d, sin_d), (cos_l, sin_l) = (tables.__wrapped__(n, torch.float32, device) for n in (width, length))
    return torch.cat([cos_d, sin_d], 1).to(dtype), torch.cat([cos_l, -sin_l], 1).to(dtype)
