"""Softmax of x and of −x by Triton kernels, with derivatives of any order."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from formers.ops.common.derivatives import gradients_by_autograd, is_recorded, needs_autograd
from formers.ops.token_wise import naive
from formers.ops.token_wise.row_launch import launch


def opposite_softmaxes(x: Tensor) -> Tensor:
    """Return [softmax(x), softmax(−x)]."""
    if not is_recorded(x):
        return both(x)
    y: Tensor = _SoftmaxesByTriton.apply(x)
    return y


class _SoftmaxesByTriton(torch.autograd.Function):
    """x → [softmax(x), softmax(−x)]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        phi = both(x)
        ctx.save_for_backward(x, phi)
        return phi

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor | None:
        x, phi = ctx.saved_tensors
        if needs_autograd(gradient):
            (found,) = gradients_by_autograd(lambda x: (naive.opposite_softmaxes(x),), (x,), (gradient,))
            return found
        return gradient_of(x, phi, gradient)


def both(x: Tensor) -> Tensor:
    """Return the softmaxes by one launch."""
    from formers.ops.token_wise.triton_rows import opposite_softmaxes as kernel

    x = x.contiguous()
    phi = x.new_empty(*x.shape[:-1], 2 * x.shape[-1])
    launch(kernel, (x, phi))
    return phi


def gradient_of(x: Tensor, phi: Tensor, gradient: Tensor) -> Tensor:
    """Return the gradient of x by one launch."""
    from formers.ops.token_wise.triton_rows import opposite_softmax_gradients as kernel

    found = torch.empty_like(x, memory_format=torch.contiguous_format)
    launch(kernel, (x, phi, gradient.contiguous(), found))
    return found
