"""The Triton kernels of Fourier features: angles are made in registers, so that φ alone goes to memory.

x is (N, K), w (C, K) and φ (N, 2C), sines before cosines. Programs: blocks of rows. Products are summed in float32.
"""

from __future__ import annotations

import triton
import triton.language as tl

from formers.ops.linear_attention.triton_exp import rows_of


@triton.jit
def _unit_rows(x, first, rows, width, least, ROWS: tl.constexpr, WIDTH: tl.constexpr):
    """Return x̂ = x·r and r = 1/√(|x|² + least)."""
    x_tile = rows_of(x, first, rows, width, ROWS, WIDTH)
    inverse = 1.0 / tl.sqrt(tl.sum(x_tile * x_tile, 1) + least)
    return x_tile * inverse[:, None], inverse


@triton.jit(do_not_specialize=["rows"])
def fourier_of_rows(
    x,
    out,
    w,
    rows,
    count,
    width,
    least,
    scale,
    PRECISION: tl.constexpr,
    ROWS: tl.constexpr,
    FEATURES: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """Write sin(w·x̂) and cos(w·x̂), each times `scale`."""
    first = tl.program_id(0).to(tl.int64) * ROWS
    row = first + tl.arange(0, ROWS)
    unit, _ = _unit_rows(x, first, rows, width, least, ROWS, WIDTH)
    for start in range(0, count, FEATURES):
        w_tile = rows_of(w, start, count, width, FEATURES, WIDTH)
        angle = tl.dot(unit, tl.trans(w_tile), input_precision=PRECISION)
        col = start + tl.arange(0, FEATURES)
        inside = (row < rows)[:, None] & (col < count)[None, :]
        place = out + row[:, None] * (2 * count) + col[None, :]
        tl.store(place, (tl.sin(angle) * scale).to(out.dtype.element_ty), mask=inside)
        tl.store(place + count, (tl.cos(angle) * scale).to(out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["rows"])
def fourier_gradients_of_rows(
    gradient,
    phi,
    x,
    of_x,
    w,
    rows,
    count,
    width,
    least,
    PRECISION: tl.constexpr,
    ROWS: tl.constexpr,
    FEATURES: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """Write the gradient of x: that of x̂, (g_sin ∘ φ_cos − g_cos ∘ φ_sin) w, without its part along x̂, times r."""
    first = tl.program_id(0).to(tl.int64) * ROWS
    row, at = first + tl.arange(0, ROWS), tl.arange(0, WIDTH)
    found = tl.zeros((ROWS, WIDTH), tl.float32)
    for start in range(0, count, FEATURES):
        col = start + tl.arange(0, FEATURES)
        inside = (row < rows)[:, None] & (col < count)[None, :]
        place = row[:, None] * (2 * count) + col[None, :]
        of_sine = tl.load(gradient + place, mask=inside, other=0.0).to(tl.float32)
        cosine = tl.load(phi + place + count, mask=inside, other=0.0).to(tl.float32)
        of_angle = of_sine * cosine
        of_cosine = tl.load(gradient + place + count, mask=inside, other=0.0).to(tl.float32)
        sine = tl.load(phi + place, mask=inside, other=0.0).to(tl.float32)
        of_angle -= of_cosine * sine
        w_tile = rows_of(w, start, count, width, FEATURES, WIDTH)
        found += tl.dot(of_angle, w_tile, input_precision=PRECISION)
    unit, inverse = _unit_rows(x, first, rows, width, least, ROWS, WIDTH)
    found = (found - unit * tl.sum(found * unit, 1)[:, None]) * inverse[:, None]
    inside = (row < rows)[:, None] & (at < width)[None, :]
    tl.store(of_x + row[:, None] * width + at[None, :], found.to(of_x.dtype.element_ty), mask=inside)
