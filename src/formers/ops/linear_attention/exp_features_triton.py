"""Exponential features by Triton kernels: for which inputs, and with derivatives of any order."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from formers.ops.common.derivatives import gradients_by_autograd, is_recorded, needs_autograd
from formers.ops.common.triton_reasons import eager_triton_reasons
from formers.ops.linear_attention import naive
from formers.ops.linear_attention.triton_grid import block_of, precision_of

_WIDEST = 128
"""The widest inputs, K, of which a program holds its rows and a block of directions."""
_WIDEST_EXACT = 64
"""The same where products are made in full float32, without tensor cores."""
_ROWS, _FEATURES = 64, 64
"""Rows of a program, and features that it makes at once."""


def unsupported_reasons(inputs: tuple[Any, ...]) -> list[str]:
    """Return why the kernels cannot run on inputs that begin with x and w, a sentence each."""
    x, w = inputs[:2]
    reasons = eager_triton_reasons(x)
    if x.shape[-1] > _WIDEST:
        reasons.append(f"it takes inputs up to {_WIDEST} wide, these are {x.shape[-1]}")
    if not w.numel():
        reasons.append("there are no features")
    return reasons


def slow_reasons(inputs: tuple[Any, ...]) -> list[str]:
    """Return why another form is faster."""
    x, dtype = inputs[0], inputs[-1] if isinstance(inputs[-1], torch.dtype) else inputs[0].dtype
    if x.shape[-1] > _WIDEST_EXACT and _precision(dtype) == "ieee":
        return [f"float32 products of inputs wider than {_WIDEST_EXACT} leave the registers in full precision"]
    return []


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
    phi = _empty_as(x, len(w), dtype)
    _launch(features_of_rows, (x, shift, phi), x, w, dtype)
    return phi


def gradients(
    gradient: Tensor, phi: Tensor, w: Tensor, x: Tensor, shift: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Return the gradients of x and of the shift, None where there is none."""
    from formers.ops.linear_attention.triton_exp import gradients_of_rows

    of_x, of_shift = _empty_as(x, x.shape[3], x.dtype), None if shift is None else _empty_as(x, 1, x.dtype)
    _launch(gradients_of_rows, (gradient, phi, of_x, of_shift), x, w, phi.dtype)
    return of_x, None if of_shift is None else of_shift.squeeze(3)


def _largest(x: Tensor, w: Tensor, dtype: torch.dtype) -> Tensor:
    """Return max_m w_m·x, for features of a dtype."""
    from formers.ops.linear_attention.triton_exp import largest_of_rows

    found = _empty_as(x, 1, x.dtype)
    _launch(largest_of_rows, (x, found), x, w, dtype)
    return found.squeeze(3)


def _tokens_lie_outside(x_bhlk: Tensor) -> bool:
    """Return whether heads lie side by side in memory, as projections leave them: rows are then taken in that order."""
    return x_bhlk.transpose(1, 2).is_contiguous()


def _empty_as(x_bhlk: Tensor, width: int, dtype: torch.dtype) -> Tensor:
    """Return memory for (B, H, L, width) in the order of the rows of x."""
    batch, heads, length, _ = x_bhlk.shape
    if _tokens_lie_outside(x_bhlk):
        return x_bhlk.new_empty(batch, length, heads, width, dtype=dtype).transpose(1, 2)
    return x_bhlk.new_empty(batch, heads, length, width, dtype=dtype)


def _precision(dtype: torch.dtype) -> str:
    """Return the precision of float32 products: torch's own setting.

    Where that is full float32 and features are in half precision, it is three products of TF32 on tensor cores, whose
    error is far below these features' rounding.
    """
    return "tf32x3" if dtype != torch.float32 and precision_of() == "ieee" else precision_of()


def _launch(kernel: Any, tensors: tuple[Tensor | None, ...], x: Tensor, w: Tensor, dtype: torch.dtype) -> None:
    """Run a kernel on blocks of rows of tensors (B, H, L, ·), in the order of those of x; others are copied into it."""
    (count, width), rows, outside = w.shape, x.numel() // x.shape[3], _tokens_lie_outside(x)
    given = [None if t is None else (t.transpose(1, 2) if outside else t).contiguous() for t in tensors]
    with torch.cuda.device_of(x):
        kernel[(-(-rows // _ROWS),)](
            *given,
            w.contiguous(),
            rows,
            count,
            width,
            PRECISION=_precision(dtype),
            ROWS=_ROWS,
            FEATURES=_FEATURES,
            WIDTH=block_of(width),
            num_warps=4,
            num_stages=3 if width <= _WIDEST_EXACT else 1,
        )
