"""The Triton kernels of functions of each token: rows of features, whole rows in a program, in float32."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _larger(a, b):
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _tile(rows, width, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """Return the offsets of a program's numbers, and which of them there are."""
    row, col = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS), tl.arange(0, BLOCK)
    return row[:, None] * width + col[None, :], (row < rows)[:, None] & (col < width)[None, :]


@triton.jit(do_not_specialize=["rows"])
def max_norms(x, out, rows, width, eps, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """Write x/(max |x| + ε). Programs: blocks of rows."""
    at, inside = _tile(rows, width, ROWS, BLOCK)
    t = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    d = tl.reduce(tl.abs(t), 1, _larger) + eps
    tl.store(out + at, (t / d[:, None]).to(out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["rows"])
def max_norm_gradients(x, gradient, out, rows, width, eps, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """Write the gradient of x. Programs: blocks of rows."""
    at, inside = _tile(rows, width, ROWS, BLOCK)
    t = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    g = tl.load(gradient + at, mask=inside, other=0.0).to(tl.float32)
    largest = tl.reduce(tl.abs(t), 1, _larger)
    d = largest + eps
    top = (tl.abs(t) == largest[:, None]) & inside
    share = tl.sum(g * (t / d[:, None]), 1) / (d * tl.sum(top.to(tl.float32), 1))  # d² may leave float32
    sign = tl.where(t > 0, 1.0, tl.where(t < 0, -1.0, 0.0))
    found = g / d[:, None] - tl.where(top, sign * share[:, None], 0.0)
    tl.store(out + at, found.to(out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["rows"])
def opposite_softmaxes(x, out, rows, width, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """Write softmax(x), and softmax(−x) behind it. Programs: blocks of rows."""
    at, inside = _tile(rows, width, ROWS, BLOCK)
    to, _ = _tile(rows, 2 * width, ROWS, BLOCK)
    t, there = tl.load(x + at, mask=inside, other=0.0).to(tl.float32), (tl.arange(0, BLOCK) < width)[None, :]
    for sign in tl.static_range(2):
        signed = tl.where(there, t if sign == 0 else -t, float("-inf"))
        largest = tl.reduce(signed, 1, _larger)
        weights = tl.exp(signed - largest[:, None])
        weights = weights / tl.sum(weights, 1)[:, None]
        tl.store(out + to + sign * width, weights.to(out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["rows"])
def opposite_softmax_gradients(x, phi, gradient, out, rows, width, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """Write the gradient of x; of x itself nothing is read. Programs: blocks of rows."""
    at, inside = _tile(rows, width, ROWS, BLOCK)
    of, _ = _tile(rows, 2 * width, ROWS, BLOCK)
    found = tl.zeros((ROWS, BLOCK), tl.float32)
    for sign in tl.static_range(2):
        weights = tl.load(phi + of + sign * width, mask=inside, other=0.0).to(tl.float32)
        g = tl.load(gradient + of + sign * width, mask=inside, other=0.0).to(tl.float32)
        change = weights * (g - tl.sum(weights * g, 1)[:, None])
        found += change if sign == 0 else -change
    tl.store(out + at, found.to(out.dtype.element_ty), mask=inside)
