"""The Triton kernels of exponential features: exponents are made in registers, so that φ alone goes to memory.

x is (N, K), w (M, K), the shift and the largest exponents one number a row. Programs: blocks of rows. Products are
summed in float32.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def rows_of(t, first, rows, width, ROWS: tl.constexpr, WIDTH: tl.constexpr):
    """Return (ROWS, WIDTH) numbers from a row on, in float32, zeros outside."""
    row, col = first + tl.arange(0, ROWS), tl.arange(0, WIDTH)
    inside = (row < rows)[:, None] & (col < width)[None, :]
    return tl.load(t + row[:, None] * width + col[None, :], mask=inside, other=0.0).to(tl.float32)


@triton.jit(do_not_specialize=["rows"])
def largest_of_rows(
    x,
    out,
    w,
    rows,
    count,
    width,
    PRECISION: tl.constexpr,
    ROWS: tl.constexpr,
    FEATURES: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """Write max_m w_m·x."""
    first = tl.program_id(0).to(tl.int64) * ROWS
    x_tile = rows_of(x, first, rows, width, ROWS, WIDTH)
    found = tl.full((ROWS,), float("-inf"), tl.float32)
    for start in range(0, count, FEATURES):
        w_tile = rows_of(w, start, count, width, FEATURES, WIDTH)
        exponents = tl.dot(x_tile, tl.trans(w_tile), input_precision=PRECISION)
        there = start + tl.arange(0, FEATURES) < count
        found = tl.maximum(found, tl.max(tl.where(there[None, :], exponents, float("-inf")), 1))
    row = first + tl.arange(0, ROWS)
    tl.store(out + row, found, mask=row < rows)


@triton.jit(do_not_specialize=["rows"])
def features_of_rows(
    x,
    shift,
    out,
    w,
    rows,
    count,
    width,
    PRECISION: tl.constexpr,
    ROWS: tl.constexpr,
    FEATURES: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """Write exp(w·x − shift)."""
    first = tl.program_id(0).to(tl.int64) * ROWS
    row = first + tl.arange(0, ROWS)
    x_tile = rows_of(x, first, rows, width, ROWS, WIDTH)
    lowered = tl.load(shift + row, mask=row < rows, other=0.0).to(tl.float32)
    for start in range(0, count, FEATURES):
        w_tile = rows_of(w, start, count, width, FEATURES, WIDTH)
        phi = tl.exp(tl.dot(x_tile, tl.trans(w_tile), input_precision=PRECISION) - lowered[:, None])
        col = start + tl.arange(0, FEATURES)
        inside = (row < rows)[:, None] & (col < count)[None, :]
        tl.store(out + row[:, None] * count + col[None, :], phi.to(out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["rows"])
def gradients_of_rows(
    gradient,
    phi,
    of_x,
    of_shift,
    w,
    rows,
    count,
    width,
    PRECISION: tl.constexpr,
    ROWS: tl.constexpr,
    FEATURES: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """Write the gradient of x, (g ∘ φ) w, and of the shift, −Σ g ∘ φ."""
    first = tl.program_id(0).to(tl.int64) * ROWS
    row, at = first + tl.arange(0, ROWS), tl.arange(0, WIDTH)
    found, total = tl.zeros((ROWS, WIDTH), tl.float32), tl.zeros((ROWS,), tl.float32)
    for start in range(0, count, FEATURES):
        col = start + tl.arange(0, FEATURES)
        inside = (row < rows)[:, None] & (col < count)[None, :]
        place = row[:, None] * count + col[None, :]
        g = tl.load(gradient + place, mask=inside, other=0.0).to(tl.float32)
        weighted = g * tl.load(phi + place, mask=inside, other=0.0).to(tl.float32)
        w_tile = rows_of(w, start, count, width, FEATURES, WIDTH)
        found += tl.dot(weighted, w_tile, input_precision=PRECISION)
        total += tl.sum(weighted, 1)
    inside = (row < rows)[:, None] & (at < width)[None, :]
    tl.store(of_x + row[:, None] * width + at[None, :], found.to(of_x.dtype.element_ty), mask=inside)
    if of_shift is not None:
        tl.store(of_shift + row, -total, mask=row < rows)
