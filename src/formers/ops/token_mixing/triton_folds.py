"""The Triton kernels of Fourier mixing: four places of x or y, ±n and ±d, for one of either part, in float32."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _places(held, width_held, length, width, BLOCK: tl.constexpr):
    """Return a program's n, −n, d and −d, and where its row of a part starts, and rows n and −n of the whole."""
    row = tl.program_id(0).to(tl.int64)
    n, start = row % held, row // held * length
    n_back = tl.where(n == 0, 0, length - n)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    d_back = tl.where(d == 0, 0, width - d)
    return n, n_back, d, d_back, row * width_held, (start + n) * width, (start + n_back) * width


@triton.jit(do_not_specialize=["held", "length"])
def folds(x, even, odd, held, width_held, length, width, BLOCK: tl.constexpr):
    """Write the parts. Programs: rows of them, blocks of columns.

    Beyond half of an axis tables weigh nothing: rows are zeros there, and columns what x has at its places, since a
    mask that ends at a multiple of 16 leaves whole words.
    """
    n, _, d, d_back, at, ahead, back = _places(held, width_held, length, width, BLOCK)
    there = d < width_held
    whole = there & (d < width) & (n <= length // 2)
    same = tl.load(x + ahead + d, mask=whole, other=0.0).to(tl.float32)
    same += tl.load(x + back + d_back, mask=whole, other=0.0).to(tl.float32)
    other = tl.load(x + back + d, mask=whole, other=0.0).to(tl.float32)
    other += tl.load(x + ahead + d_back, mask=whole, other=0.0).to(tl.float32)
    tl.store(even + at + d, ((same + other) * 0.25).to(even.dtype.element_ty), mask=there)
    tl.store(odd + at + d, ((same - other) * 0.25).to(odd.dtype.element_ty), mask=there)


@triton.jit(do_not_specialize=["held", "length"])
def unfolds(y, even, odd, held, width_held, length, width, BLOCK: tl.constexpr):
    """Write y from the products of the parts. Programs: rows of them, blocks of columns.

    Products know y at all columns that a part holds, which may be more than half, so that whole words are written.
    """
    n, n_back, d, d_back, at, ahead, back = _places(held, width_held, length, width, BLOCK)
    near = (d < width_held) & (d < width) & (n <= length // 2)
    a = tl.load(even + at + d, mask=near, other=0.0).to(tl.float32)
    b = tl.load(odd + at + d, mask=near, other=0.0).to(tl.float32)
    less, more = (a - b).to(y.dtype.element_ty), (a + b).to(y.dtype.element_ty)
    far = near & (d_back >= width_held) & (d > 0)
    tl.store(y + ahead + d, less, mask=near)
    tl.store(y + ahead + d_back, more, mask=far)
    tl.store(y + back + d, more, mask=near & (n_back != n))
    tl.store(y + back + d_back, less, mask=far & (n_back != n))
