"""Kernels that make features of rows of x and w: for which inputs they run, and their launch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from formers.ops.common.tensor_cores import tensor_core_reasons
from formers.ops.common.triton_reasons import eager_triton_reasons
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
    reasons = tensor_core_reasons(x.device)
    if x.shape[-1] > _WIDEST_EXACT and _precision(dtype) == "ieee":
        reasons.append(f"float32 products of inputs wider than {_WIDEST_EXACT} leave the registers in full precision")
    return reasons


def _tokens_lie_outside(x_bhlk: Tensor) -> bool:
    """Return whether heads lie side by side in memory, as projections leave them: rows are then taken in that order."""
    return x_bhlk.transpose(1, 2).is_contiguous()


def empty_as(x_bhlk: Tensor, width: int, dtype: torch.dtype) -> Tensor:
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


def launch(
    kernel: Any, tensors: tuple[Tensor | None, ...], x: Tensor, w: Tensor, dtype: torch.dtype, *numbers: float
) -> None:
    """Run a kernel on blocks of rows of tensors (B, H, L, ·), in the order of those of x; others are copied into it.

    It takes the tensors, w, how many rows, features and columns of x there are, and the numbers.
    """
    (count, width), rows, outside = w.shape, x.numel() // x.shape[3], _tokens_lie_outside(x)
    given = [None if t is None else (t.transpose(1, 2) if outside else t).contiguous() for t in tensors]
    with torch.cuda.device_of(x):
        kernel[(-(-rows // _ROWS),)](
            *given,
            w.contiguous(),
            rows,
            count,
            width,
            *numbers,
            PRECISION=_precision(dtype),
            ROWS=_ROWS,
            FEATURES=_FEATURES,
            WIDTH=block_of(width),
            num_warps=4,
            num_stages=3 if width <= _WIDEST_EXACT else 1,
        )
