"""Fourier mixing by a real-input transform, half the work of a complex one."""

from __future__ import annotations

import torch
from torch import Tensor

from formers.ops.common.dtypes import accumulation_dtype
from formers.ops.token_mixing.symmetric import symmetric


def by_transform(x_bld: Tensor) -> Tensor:
    """Return Re F_length F_width x by a fast transform, O(LD (log L + log D))."""
    return symmetric(_transform, x_bld.to(accumulation_dtype(x_bld.dtype))).to(x_bld.dtype)


def _transform(x_bld: Tensor) -> Tensor:
    """Compute columns 0 … D/2 by a real-input transform; the others repeat them backwards, y[n, D − d] = y[−n, d]."""
    half = torch.fft.rfft2(x_bld, dim=(1, 2)).real
    computed = half.shape[2]
    y = torch.empty_like(x_bld, memory_format=torch.contiguous_format)
    y[:, :, :computed] = half
    implied = y[:, :, 1 : x_bld.shape[2] - computed + 1]  # read from y: half is every other number of a complex tensor
    backwards = implied.flip(1, 2)
    y[:, 1:, computed:] = backwards[:, :-1]
    y[:, :1, computed:] = backwards[:, -1:]  # −0 is 0: the first row repeats itself
    return y
