"""The maximum norm by Triton kernels: for which inputs, and with derivatives of any order.

With m = max |x|, d = m + ε, n features as large as m and the gradient g of x/d:

    gradient of x = g/d − [|x| = m] sign(x) (g·x)/(n d²)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from formers.ops.common.derivatives import gradients_by_autograd, is_recorded, needs_autograd
from formers.ops.token_wise import naive
from formers.ops.token_wise.row_launch import launch


def max_norm(x: Tensor, eps: float) -> Tensor:
    """Return x/(max |x| + ε)."""
    if not is_recorded(x):
        return normalized(x, eps)
    y: Tensor = _NormByTriton.apply(x, eps)
    return y


class _NormByTriton(torch.autograd.Function):
    """(x, ε) → x/(max |x| + ε)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> Tensor:
        ctx.eps = eps
        ctx.save_for_backward(x)
        return normalized(x, eps)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None]:
        (x,) = ctx.saved_tensors
        if needs_autograd(gradient):
            (found,) = gradients_by_autograd(lambda x: (naive.max_norm(x, ctx.eps),), (x,), (gradient,))
            return found, None
        return gradient_of(x, gradient, ctx.eps), None


def normalized(x: Tensor, eps: float) -> Tensor:
    """Return the norm by one launch."""
    from formers.ops.token_wise.triton_rows import max_norms

    x = x.contiguous()
    y = torch.empty_like(x)
    launch(max_norms, (x, y), eps)
    return y


def gradient_of(x: Tensor, gradient: Tensor, eps: float) -> Tensor:
    """Return the gradient of x by one launch."""
    from formers.ops.token_wise.triton_rows import max_norm_gradients

    x = x.contiguous()
    found = torch.empty_like(x)
    launch(max_norm_gradients, (x, gradient.contiguous(), found), eps)
    return found
