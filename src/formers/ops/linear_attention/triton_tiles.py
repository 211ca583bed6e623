"""What the Triton kernels of linear attention share: tiles of rows, features, decays and half-precision factors.

A tensor (B, H, L, ·) comes to a kernel as a tuple (pointer, stride of B, of H, of L); its last axis is contiguous.
Numbers of tokens, (B, H, L) or a mask (B, L), come as a pointer, in one piece. A place is a triple (batch, head, and
batch × head) in 64 bits, and so is a first row, so that no offset overflows.

Triton compiles anew for a number that is 1 or a multiple of 16 where another was not. That is worth it for widths, of
which there are few, and not for lengths. It does so for numbers in a tuple, so that lengths are arguments themselves.

Factors of a product are in the inputs' dtype, sums in float32. float16 ends at 65,504, so what may leave it (states,
scores, exponentials) enters a product divided by its largest number, and the product is multiplied by it again.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def place_of(heads, programs):
    """Return a program's place, and which of a sequence's programs it is.

    All programs are on the first axis of a grid, which takes 2³¹ − 1; the others take 65,535.
    """
    n = (tl.program_id(0) // programs).to(tl.int64)
    return (n // heads, n % heads, n), tl.program_id(0) % programs


@triton.jit
def load_tile(rows_of, place, first, length, column, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Return (ROWS, COLUMNS) numbers from a row and a column on, zeros outside (length, width)."""
    base = rows_of[0] + place[0] * rows_of[1] + place[1] * rows_of[2] + first * rows_of[3] + column
    row, col = tl.arange(0, ROWS), tl.arange(0, COLUMNS)
    inside = (first + row < length)[:, None] & (column + col < width)[None, :]
    return tl.load(base + row[:, None] * rows_of[3] + col[None, :], mask=inside, other=0.0)


@triton.jit
def store_tile(rows_of, value, place, first, length, column, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Write a tile where `load_tile` would read it."""
    base = rows_of[0] + place[0] * rows_of[1] + place[1] * rows_of[2] + first * rows_of[3] + column
    row, col = tl.arange(0, ROWS), tl.arange(0, COLUMNS)
    inside = (first + row < length)[:, None] & (column + col < width)[None, :]
    tl.store(base + row[:, None] * rows_of[3] + col[None, :], value.to(rows_of[0].dtype.element_ty), mask=inside)


@triton.jit
def load_vector(numbers, place, first, length, ROWS: tl.constexpr):
    """Return one float32 number a row of a tensor (B, H, L), zeros beyond its length."""
    row = first + tl.arange(0, ROWS)
    return tl.load(numbers + place[2] * length + row, mask=row < length, other=0.0).to(tl.float32)


@triton.jit
def store_vector(numbers, value, place, first, length, ROWS: tl.constexpr):
    """Write one number a row."""
    row = first + tl.arange(0, ROWS)
    tl.store(numbers + place[2] * length + row, value, mask=row < length)


@triton.jit
def load_real(mask, place, first, length, ROWS: tl.constexpr):
    """Return which rows are real tokens: those inside, and not masked, where there is a mask."""
    row = first + tl.arange(0, ROWS)
    real = row < length
    if mask is not None:
        real = real & (tl.load(mask + place[0] * length + row, mask=real, other=0) != 0)
    return real


@triton.jit
def features(x, MAP: tl.constexpr):
    """Return φ(x) in float32."""
    x = x.to(tl.float32)
    if MAP == "elu":
        x = tl.where(x > 0, x + 1, tl.exp(tl.minimum(x, 0.0)))
    if MAP == "relu" or MAP == "squared_relu":
        x = tl.maximum(x, 0.0)
    if MAP == "squared_relu":
        x = x * x
    if MAP == "exp":
        x = tl.exp(x)
    return x


@triton.jit
def features_slope(x, MAP: tl.constexpr):
    """Return φ'(x) in float32, 0 where relu has none."""
    x = x.to(tl.float32)
    if MAP == "elu":
        x = tl.exp(tl.minimum(x, 0.0))
    elif MAP == "relu":
        x = tl.where(x > 0, 1.0, 0.0)
    elif MAP == "squared_relu":
        x = 2 * tl.maximum(x, 0.0)
    elif MAP == "exp":
        x = tl.exp(x)
    return x


@triton.jit
def narrowed(x, DTYPE: tl.constexpr):
    """Return (x/s in a dtype, s) with s such that it does not overflow."""
    if tl.float16 == DTYPE:
        largest = tl.max(tl.abs(x))
        scale = tl.where(largest > 0, largest, 1.0)
        return (x / scale).to(DTYPE), scale
    else:
        return x.to(DTYPE), 1.0


@triton.jit
def factor(x, real, width, column, MAP: tl.constexpr, COLUMNS: tl.constexpr):
    """Return (φ(x)/s in the dtype of x, s), with zeros in rows that are not real and in columns beyond the width."""
    if MAP == "identity":
        return tl.where(real[:, None], x, tl.zeros_like(x)), 1.0
    else:
        inside = real[:, None] & (column + tl.arange(0, COLUMNS) < width)[None, :]
        phi = tl.where(inside, features(x, MAP), 0.0)
        if MAP == "exp" or MAP == "squared_relu":
            return narrowed(phi, x.dtype)
        else:
            return phi.to(x.dtype), 1.0


@triton.jit
def product(a, b, PRECISION: tl.constexpr):
    """Return a b, summed in float32; PRECISION is that of float32 factors."""
    return tl.dot(a, b, input_precision=PRECISION)


@triton.jit
def safe_reciprocal(d, floor):
    """Return 1/d with ±floor for 0 < |d| < floor, and 0 for d = 0, as `safe_divisor` divides."""
    clamped = tl.where(tl.abs(d) < floor, tl.where(d < 0, -floor, floor), d)
    return tl.where(d == 0, 0.0, 1.0 / tl.where(d == 0, 1.0, clamped))


@triton.jit
def load_log_decay(log_g, mask, place, first, length, ROWS: tl.constexpr):
    """Return log g of each token, and of the one after it inside the chunk; 0 where a token is not real.

    `mask` is a pointer or None: a masked token forgets nothing.
    """
    row = tl.arange(0, ROWS)
    at = log_g + place[2] * length + first + row
    here = load_real(mask, place, first, length, ROWS)
    after = load_real(mask, place, first + 1, length, ROWS) & (row + 1 < ROWS)
    g = tl.load(at, mask=here, other=0.0).to(tl.float32)
    return g, tl.load(at + 1, mask=after, other=0.0).to(tl.float32)


@triton.jit
def decay_between(g, REVERSE: tl.constexpr, ROWS: tl.constexpr):
    """Return D of `chunks`, [i, j]: the decay from token j to i, zero for j > i; transposed in reverse.

    Sums of log g over runs of tokens, never differences of such sums, so that −∞ and huge decays are exact.
    """
    row, col = tl.arange(0, ROWS)[:, None], tl.arange(0, ROWS)[None, :]
    if REVERSE:
        run = tl.cumsum(tl.where(col > row, g[None, :], 0.0), 1)
        return tl.where(col >= row, tl.exp(run), 0.0)
    else:
        run = tl.cumsum(tl.where(row > col, g[:, None], 0.0), 0)
        return tl.where(row >= col, tl.exp(run), 0.0)
