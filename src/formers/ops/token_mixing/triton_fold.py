"""The even and the odd part of x along both axes, and y from the products of both, one Triton kernel each."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from formers.ops.token_mixing.fourier_fold import held

_WIDEST = 1024
"""The most columns of a part in a program, 8 for each thread of four warps."""


def fold(x_bld: Tensor) -> tuple[Tensor, Tensor]:
    """Return the parts of x that are even and odd along both axes, (B, held(L), held(D)), rounded once."""
    from formers.ops.token_mixing.triton_folds import folds

    batch, length, width = x_bld.shape
    even = x_bld.new_empty(batch, held(length), held(width))
    odd = torch.empty_like(even)
    _launch(folds, x_bld.contiguous(), even, odd, length, width)
    return even, odd


def unfold(a: Tensor, b: Tensor, length: int, width: int) -> Tensor:
    """Return y from A and B, (B, L, D): A − B at n, d and −n, −d, A + B at −n, d and n, −d."""
    from formers.ops.token_mixing.triton_folds import unfolds

    y_bld = a.new_empty(a.shape[0], length, width)
    _launch(unfolds, y_bld, a.contiguous(), b.contiguous(), length, width)
    return y_bld


def _launch(kernel: Any, whole: Tensor, even: Tensor, odd: Tensor, length: int, width: int) -> None:
    """Run a kernel on the rows of both parts."""
    batch, rows, cols = even.shape
    block = min(_WIDEST, 1 << (cols - 1).bit_length())
    if whole.numel():
        with torch.cuda.device_of(whole):
            kernel[(batch * rows, -(-cols // block))](
                whole, even, odd, rows, cols, length, width, BLOCK=block, num_warps=4
            )
