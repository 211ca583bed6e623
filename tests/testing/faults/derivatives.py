"""Faults of second derivatives: backward passes that autograd cannot look into."""

from __future__ import annotations

from typing import Any

import torch
from planting import Patch, fault, spoiled
from torch import Tensor
from torch.autograd.function import once_differentiable

from formers.mixers import Linear
from formers.part import Part
from formers.testing import laws


class _Sine(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return g * x.cos()


class _ConstantSlope(_Sine):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return g * x.detach().cos()


@fault(laws.second_derivatives_are_right_or_refused)
def differentiable_once(patch: Patch) -> Part:
    return spoiled(Linear(), lambda y, x, state, module: (y + _Sine.apply(x), state))


@fault(laws.second_derivatives_are_right_or_refused)
def takes_its_slope_for_constant(patch: Patch) -> Part:
    return spoiled(Linear(), lambda y, x, state, module: (y + 1e-3 * _ConstantSlope.apply(x), state))
