"""Fourier features by Triton kernels, with derivatives of any order."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from formers.ops.common.derivatives import gradients_by_autograd, is_recorded, needs_autograd
from formers.ops.linear_attention import naive
from formers.ops.linear_attention.feature_rows import empty_as, launch


def fourier_features(x_bhlk: Tensor, w_ck: Tensor, dtype: torch.dtype) -> Tensor:
    """Return φ, (B, H, L, 2C), of the op of the same name."""
    if is_recorded(x_bhlk):
        phi: Tensor = _FourierByTriton.apply(x_bhlk, w_ck, dtype)
        return phi
    return features(x_bhlk, w_ck, dtype)


class _FourierByTriton(torch.autograd.Function):
    """(x, w, dtype) → φ; w gets no gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, dtype: torch.dtype) -> Tensor:
        phi = features(x, w, dtype)
        ctx.save_for_backward(x, w, phi)
        return phi

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, w, phi = ctx.saved_tensors
        if needs_autograd(gradient):
            (of_x,) = gradients_by_autograd(lambda x: (naive.fourier_features(x, w, phi.dtype),), (x,), (gradient,))
            return of_x, None, None
        return gradients(gradient, phi, w, x), None, None


def features(x: Tensor, w: Tensor, dtype: torch.dtype) -> Tensor:
    """Return [sin w·x̂, cos w·x̂]/√C, rounded to a dtype."""
    from formers.ops.linear_attention.triton_fourier import fourier_of_rows

    phi = empty_as(x, 2 * len(w), dtype)
    launch(fourier_of_rows, (x, phi), x, w, dtype, naive.LEAST_SQUARE, len(w) ** -0.5)
    return phi


def gradients(gradient: Tensor, phi: Tensor, w: Tensor, x: Tensor) -> Tensor:
    """Return the gradient of x."""
    from formers.ops.linear_attention.triton_fourier import fourier_gradients_of_rows

    of_x = empty_as(x, x.shape[3], x.dtype)
    launch(fourier_gradients_of_rows, (gradient, phi, x, of_x), x, w, phi.dtype, naive.LEAST_SQUARE)
    return of_x
