"""Exponential features by Triton kernels: for which inputs, and with derivatives of any order."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from formers.ops.common.derivatives import gradients_by_autograd, is_recorded, needs_autograd
from formers.ops.linear_attention import naive
from formers.ops.linear_attention.feature_rows import empty_as, launch


def exp_features(x_bhlk: Tensor, w_mk: Tensor, shift_bhl: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Return φ, (B, H, L, M), of the op of the same name."""
    if is_recorded(x_bhlk, shift_bhl):
        phi: Tensor = _FeaturesByTriton.apply(x_bhlk, w_mk, shift_bhl, dtype)
        return phi
    return features(x_bhlk, w_mk, shift_bhl, dtype)


def largest_exponents(x_bhlk: Tensor, w_mk: Tensor) -> Tensor:
    """Return max_m w_m·x, (B, H, L), of the op of the same name."""
    return _largest(x_bhlk, w_mk, x_bhlk.dtype)


class _FeaturesByTriton(torch.autograd.Function):
    """(x, w, shift or None, dtype) → φ; w gets no gradient, nor does a largest exponent."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, shift: Tensor | None, dtype: torch.dtype) -> Tensor:
        phi = features(x, w, shift, dtype)
        ctx.save_for_backward(x, w, shift, phi)
        return phi

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, w, shift, phi = ctx.saved_tensors
        if needs_autograd(gradient):

            def form(x: Tensor, shift: Tensor | None) -> tuple[Tensor]:
                return (naive.exp_features(x, w, shift, phi.dtype),)

            of_x, of_shift = gradients_by_autograd(form, (x, shift), (gradient,))
        else:
            of_x, of_shift = gradients(gradient, phi, w, x, shift)
        return of_x, None, of_shift, None


def features(x: Tensor, w: Tensor, shift: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Return exp(w·x − shift), rounded to a dtype; the shift is each row's largest w·x unless given."""
    from formers.ops.linear_attention.triton_exp import features_of_rows

    shift = _largest(x, w, dtype) if shift is None else shift
    phi = empty_as(x, len(w), dtype)
    launch(features_of_rows, (x, shift, phi), x, w, dtype)
    return phi


def gradients(
    gradient: Tensor, phi: Tensor, w: Tensor, x: Tensor, shift: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Return the gradients of x and of the shift, None where there is none."""
    from formers.ops.linear_attention.triton_exp import gradients_of_rows

    of_x, of_shift = empty_as(x, x.shape[3], x.dtype), None if shift is None else empty_as(x, 1, x.dtype)
    launch(gradients_of_rows, (gradient, phi, of_x, of_shift), x, w, phi.dtype)
    return of_x, None if of_shift is None else of_shift.squeeze(3)


def _largest(x: Tensor, w: Tensor, dtype: torch.dtype) -> Tensor:
    """Return max_m w_m·x, for features of a dtype."""
    from formers.ops.linear_attention.triton_exp import largest_of_rows

    found = empty_as(x, 1, x.dtype)
    launch(largest_of_rows, (x, found), x, w, dtype)
    return found.squeeze(3)
