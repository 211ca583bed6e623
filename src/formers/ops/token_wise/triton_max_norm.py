"""The maximum norm by Triton kernels: for which inputs, and with derivatives of any order.

With m = max |x|, d = m + ε, n features as large as m and the gradient g of x/d:

    gradient of x = g/d − [|x| = m] sign(x) (g·x)/(n d²)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from formers.ops.common.derivatives import gradients_by_autograd, is_recorded, needs_autograd
from formers.ops.common.triton_reasons import eager_triton_reasons
from formers.ops.token_wise import naive

_WIDEST = 8192
"""The most features that a program's registers hold."""
_NUMBERS = 4096
"""Numbers in a program, 32 for each thread of four warps."""


def unsupported_reasons(inputs: tuple[Tensor, float]) -> list[str]:
    """Return why the kernels cannot run on these inputs, a sentence each."""
    x, _ = inputs
    reasons = eager_triton_reasons(x)
    if x.shape[-1] > _WIDEST:
        reasons.append(f"it takes up to {_WIDEST} features, these are {x.shape[-1]}")
    return reasons


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
    _launch(max_norms, x, y, eps=eps)
    return y


def gradient_of(x: Tensor, gradient: Tensor, eps: float) -> Tensor:
    """Return the gradient of x by one launch."""
    from formers.ops.token_wise.triton_rows import max_norm_gradients

    x = x.contiguous()
    found = torch.empty_like(x)
    _launch(max_norm_gradients, x, gradient.contiguous(), found, eps=eps)
    return found


def _launch(kernel: Any, *tensors: Tensor, eps: float) -> None:
    """Run a kernel on the rows of tensors in one piece, a few to a program."""
    width = tensors[0].shape[-1]
    rows, block = tensors[0].numel() // width, max(16, 1 << (width - 1).bit_length())
    at_once = max(1, _NUMBERS // block)
    with torch.cuda.device_of(tensors[0]):
        kernel[(-(-rows // at_once),)](*tensors, rows, width, eps, ROWS=at_once, BLOCK=block, num_warps=4)
