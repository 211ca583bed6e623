"""Fourier mixing as products in half precision of a quarter of x, which a GPU's tensor cores sum in float32.

Cosines are even about 0 and about half their period, sines odd. Of x, cosines see its part that is even along both
axes, and sines its part that is odd along both; either is known, as its product is, from places 0 … L/2, 0 … D/2:

    x̂_le = ¼ (x_le + x_−l,−e + x_−l,e + x_l,−e)      x̌_le = ¼ (x_le + x_−l,−e − x_−l,e − x_l,−e)
    A = C_L x̂ C_D      B = S_L x̌ S_D      y_nd = y_−n,−d = A_nd − B_nd      y_−n,d = y_n,−d = A_nd + B_nd

with sums over those places, each weighted by how many it stands for.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from formers.ops.common.derivatives import is_transformed
from formers.ops.common.dtypes import without_autocast
from formers.ops.common.triton_reasons import triton_reasons
from formers.ops.token_mixing import fourier_fold, triton_fold
from formers.ops.token_mixing.fourier_fold import held
from formers.ops.token_mixing.fourier_matmul import tables
from formers.ops.token_mixing.symmetric import symmetric


def by_half_products(x_bld: Tensor) -> Tensor:
    """Return y by products of quarters, in the dtype of x.

    Tables, x̂ and x̌, their products with those of D, A and B are rounded to that dtype, sums are float32. None is
    larger than y may be: parts of x are means, and A and B are means of two entries of y.

    Cost: D (D + L)/2 operations a token, an eighth of what whole tables take; by Triton's kernels five times the bytes
    of x move, 1 + ½ in either kernel and 1 in either product.
    """
    return symmetric(_mixed, x_bld)


def _mixed(x_bld: Tensor) -> Tensor:
    _, length, width = x_bld.shape
    compiling = torch.compiler.is_compiling()  # a compiler keeps the tables that it makes, and fuses what torch folds
    by = fourier_fold if compiling or is_transformed() or triton_reasons(x_bld) else triton_fold
    made = factors.__wrapped__ if compiling else factors
    cos_l, sin_l = made(length, x_bld.dtype, x_bld.device)
    cos_d, sin_d = made(width, x_bld.dtype, x_bld.device)
    with without_autocast(x_bld.device):
        even, odd = by.fold(x_bld)
        return by.unfold(cos_l.mT @ (even @ cos_d), sin_l.mT @ (odd @ sin_d), length, width)


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # a table first made for inference must serve training later
def factors(size: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the cosines and sines of the places that a part holds, made in float32 and rounded once.

    Row i is weighted by how many places of the axis it stands for: two, itself and its negative, or one, where these
    are the same; none beyond half.
    """
    i = torch.arange(held(size), device=device)
    weight_i1 = ((2 * i <= size).float() + ((i > 0) & (2 * i < size)))[:, None]
    cos, sin = tables.__wrapped__(size, torch.float32, device, held(size))
    return (weight_i1 * cos).to(dtype), (weight_i1 * sin).to(dtype)
