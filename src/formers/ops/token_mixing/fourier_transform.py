"""Fourier mixing by a real-input transform, half the work of a complex one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from formers.ops.common.dtypes import accumulation_dtype


def by_transform(x_bld: Tensor) -> Tensor:
    """Return Re F_length F_width x by a fast transform, O(LD (log L + log D))."""
    return _RealFourier.apply(x_bld.to(accumulation_dtype(x_bld.dtype))).to(x_bld.dtype)


class _RealFourier(torch.autograd.Function):
    """The map is symmetric: the gradient of its input is the map of the gradient of its output."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return _transform(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, gy: Tensor) -> Tensor:
        return _RealFourier.apply(gy)


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
