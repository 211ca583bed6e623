"""The sums that linear attention runs on, by Triton kernels: those of segments, and what stands before each.

A sequence is cut into segments of a few chunks of C tokens, worked on at the same time. `segment_sums` sums each one,
`running_sums` goes over these from one end to the other, and `triton_mixtures` starts from them. No chunk's state goes
to memory, and a segment's is M (V + 1) numbers in float32.
"""

from __future__ import annotations

import triton
import triton.language as tl

from formers.ops.linear_attention.triton_tiles import (
    factor,
    load_log_decay,
    load_real,
    load_tile,
    load_vector,
    narrowed,
    place_of,
    product,
    safe_reciprocal,
    store_vector,
)


@triton.jit(do_not_specialize=["length", "segments"], do_not_specialize_on_alignment=["chunks"])
def segment_sums(
    b,
    c,
    row,
    extra,
    log_g,
    mask,
    sums,
    decays,
    sizes,
    length,
    segments,
    chunks,
    MAP: tl.constexpr,
    REVERSE: tl.constexpr,
    PRECISION: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_B: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Write Σ β ρ φ(b) cᵀ and Σ β ρ y φ(b) of each segment, and its whole decay.

    β is the decay from a token to the end of the segment, or in reverse from its start; y is `extra`, 1 where None. The
    mask is of keys, so that in reverse it only says which tokens do not decay.
    Programs: batch × heads × segments × blocks of b's columns × blocks of c's columns.
    """
    heads, width_b, width_c = sizes
    blocks_b, blocks_c = tl.cdiv(width_b, BLOCK_B), tl.cdiv(width_c, BLOCK_C)
    place, program = place_of(heads, segments * blocks_b * blocks_c)
    n = place[2]
    segment = program // (blocks_b * blocks_c)
    column_b, column_c = (program // blocks_c) % blocks_b * BLOCK_B, program % blocks_c * BLOCK_C
    s = tl.zeros((BLOCK_B, BLOCK_C), tl.float32)
    z = tl.zeros((BLOCK_B,), tl.float32)
    total = 0.0
    for step in range(chunks):
        chunk = segment * chunks + step
        if REVERSE:
            chunk = segment * chunks + chunks - 1 - step
        first = chunk.to(tl.int64) * ROWS
        real = load_real(None if REVERSE else mask, place, first, length, ROWS)
        phi, phi_scale = factor(
            load_tile(b, place, first, length, column_b, width_b, ROWS, BLOCK_B), real, width_b, column_b, MAP, BLOCK_B
        )
        c_tile = load_tile(c, place, first, length, column_c, width_c, ROWS, BLOCK_C)
        c_tile = tl.where(real[:, None], c_tile, tl.zeros_like(c_tile))
        weight = tl.full((ROWS,), 1.0, tl.float32)
        if log_g is not None:
            g, g_after = load_log_decay(log_g, mask, place, first, length, ROWS)
            weight = tl.exp(tl.cumsum(g, 0)) if REVERSE else tl.exp(tl.cumsum(g_after, 0, reverse=True))
            whole = tl.sum(g)
            total += whole
            s *= tl.exp(whole)
            z *= tl.exp(whole)
        if row is not None:
            weight *= load_vector(row, place, first, length, ROWS)
        if (row is not None) or (log_g is not None):
            weighted, scale = narrowed(phi.to(tl.float32) * weight[:, None], c_tile.dtype)
            s += product(tl.trans(weighted), c_tile, PRECISION) * (scale * phi_scale)
        else:
            s += product(tl.trans(phi), c_tile, PRECISION) * phi_scale
        if extra is not None:
            weight *= load_vector(extra, place, first, length, ROWS)
        z += tl.sum(phi.to(tl.float32) * weight[:, None], 0) * phi_scale
    at = sums + (n * segments + segment) * (width_b * width_c + width_b)
    b_at, c_at = column_b + tl.arange(0, BLOCK_B), column_c + tl.arange(0, BLOCK_C)
    inside = (b_at < width_b)[:, None] & (c_at < width_c)[None, :]
    tl.store(at + b_at[:, None] * width_c + c_at[None, :], s, mask=inside)
    if column_c == 0:
        tl.store(at + width_b * width_c + b_at, z, mask=b_at < width_b)
    if log_g is not None:
        tl.store(decays + n * segments + segment, total)


@triton.jit(do_not_specialize=["segments"])
def running_sums(
    sums, decays, start_s, start_z, end_s, end_z, sizes, segments, REVERSE: tl.constexpr, BLOCK: tl.constexpr
):
    """Put in the place of each segment's sums what stands before it, or after it in reverse; write the sum of all.

    Numbers of S and z are treated alike. Programs: batch × heads × blocks of M V + M numbers.
    """
    of_s, of_z = sizes
    place, block = place_of(1, tl.cdiv(of_s + of_z, BLOCK))
    n = place[2]
    at = block * BLOCK + tl.arange(0, BLOCK)
    is_s, is_z = at < of_s, (at >= of_s) & (at < of_s + of_z)
    running = tl.zeros((BLOCK,), tl.float32)
    if start_s is not None:
        running += tl.load(start_s + n * of_s + at, mask=is_s, other=0.0).to(tl.float32)
    if start_z is not None:
        running += tl.load(start_z + n * of_z + (at - of_s), mask=is_z, other=0.0).to(tl.float32)
    for step in range(segments):
        segment = segments - 1 - step if REVERSE else step
        slot = sums + (n * segments + segment) * (of_s + of_z) + at
        own = tl.load(slot, mask=is_s | is_z, other=0.0)
        tl.store(slot, running, mask=is_s | is_z)
        if decays is not None:
            running *= tl.exp(tl.load(decays + n * segments + segment))
        running += own
    tl.store(end_s + n * of_s + at, running, mask=is_s)
    if end_z is not None:
        tl.store(end_z + n * of_z + (at - of_s), running, mask=is_z)


@triton.jit(do_not_specialize=["length"])
def row_factors(y, gy, divisor, row, extra, sizes, length, floor, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """Write ρ = 1/d and e = −G·y of each row, e = 0 where d is held at the floor.

    Programs: batch × heads × blocks of rows.
    """
    heads, width = sizes
    place, block = place_of(heads, tl.cdiv(length, ROWS))
    first = block.to(tl.int64) * ROWS
    y_tile = load_tile(y, place, first, length, 0, width, ROWS, BLOCK).to(tl.float32)
    g_tile = load_tile(gy, place, first, length, 0, width, ROWS, BLOCK).to(tl.float32)
    d = load_vector(divisor, place, first, length, ROWS)
    e = tl.where(tl.abs(d) < floor, 0.0, -tl.sum(y_tile * g_tile, 1))
    store_vector(row, safe_reciprocal(d, floor), place, first, length, ROWS)
    store_vector(extra, e, place, first, length, ROWS)
