"""The gradient of a decay, by a Triton kernel: one program for each chunk, with the states at both its ends.

The formula is that of `chunks`: for each token, the sum of all that its factor multiplies. No difference of sums over
all pairs enters, which a strong decay would lose.
"""

from __future__ import annotations

import triton
import triton.language as tl

from formers.ops.linear_attention.triton_tiles import (
    decay_between,
    factor,
    load_log_decay,
    load_real,
    load_tile,
    load_vector,
    narrowed,
    place_of,
    product,
    store_vector,
)


@triton.jit(do_not_specialize=["length", "chunks"])
def decay_gradient(
    q,
    k,
    v,
    gy,
    row,
    extra,
    log_g,
    mask,
    before,
    after,
    out,
    sizes,
    length,
    chunks,
    MAP: tl.constexpr,
    PRECISION: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_V: tl.constexpr,
):
    """Write the gradient of log g for one chunk, given S and z before it and R and r after it.

    Programs: batch × heads × chunks. V goes in blocks, so that two blocks of states fit the registers.
    """
    heads, m, width = sizes
    place, chunk = place_of(heads, chunks)
    n = place[2]
    first = chunk.to(tl.int64) * ROWS
    real = load_real(mask, place, first, length, ROWS)
    inside = load_real(None, place, first, length, ROWS)
    q_tile, q_scale = factor(load_tile(q, place, first, length, 0, m, ROWS, BLOCK_M), inside, m, 0, MAP, BLOCK_M)
    k_tile, k_scale = factor(load_tile(k, place, first, length, 0, m, ROWS, BLOCK_M), real, m, 0, MAP, BLOCK_M)
    m_at, state_size = tl.arange(0, BLOCK_M), m * width + m
    s_at, r_at = (before + (n * chunks + chunk) * state_size, after + (n * chunks + chunk) * state_size)
    g_v = tl.zeros((ROWS, ROWS), tl.float32)
    s_g = tl.zeros((ROWS, BLOCK_M), tl.float32)
    r_v = tl.zeros((ROWS, BLOCK_M), tl.float32)
    through = 0.0
    for column in range(0, width, BLOCK_V):
        v_at = column + tl.arange(0, BLOCK_V)
        v_tile = load_tile(v, place, first, length, column, width, ROWS, BLOCK_V)
        v_tile = tl.where(real[:, None], v_tile, tl.zeros_like(v_tile))
        g_tile = load_tile(gy, place, first, length, column, width, ROWS, BLOCK_V)
        within = v_at[:, None] + m_at[None, :] * width
        stored = (v_at < width)[:, None] & (m_at < m)[None, :]
        s_t = tl.load(s_at + within, mask=stored, other=0.0)
        r_t = tl.load(r_at + within, mask=stored, other=0.0)
        through += tl.sum(s_t * r_t)
        s_half, s_scale = narrowed(s_t, g_tile.dtype)
        r_half, r_scale = narrowed(r_t, g_tile.dtype)
        g_v += product(g_tile, tl.trans(v_tile), PRECISION)
        s_g += product(g_tile, s_half, PRECISION) * s_scale
        r_v += product(v_tile, r_half, PRECISION) * r_scale
    if extra is not None:
        e = load_vector(extra, place, first, length, ROWS)
        z = tl.load(s_at + m * width + m_at, mask=m_at < m, other=0.0)
        r = tl.load(r_at + m * width + m_at, mask=m_at < m, other=0.0)
        through += tl.sum(z * r)
        g_v += e[:, None]
        s_g += e[:, None] * z[None, :]
        r_v += r[None, :]
    g, g_after = load_log_decay(log_g, mask, place, first, length, ROWS)
    to_queries = tl.sum(q_tile.to(tl.float32) * s_g, 1) * q_scale * tl.exp(tl.cumsum(g, 0))
    from_keys = tl.sum(k_tile.to(tl.float32) * r_v, 1) * k_scale * tl.exp(tl.cumsum(g_after, 0, reverse=True))
    pairs = product(q_tile, tl.trans(k_tile), PRECISION) * (q_scale * k_scale) * g_v * decay_between(g, False, ROWS)
    if row is not None:
        weight = load_vector(row, place, first, length, ROWS)
        to_queries *= weight
        pairs *= weight[:, None]
    i, j = tl.arange(0, ROWS)[:, None], tl.arange(0, ROWS)[None, :]
    crossing = tl.sum(
        tl.where(i > j, tl.cumsum(pairs, 1), 0.0), 0
    )  # [j]: the pairs from ≤ j to > j, that is for l = j + 1
    found = tl.sum(tl.where(i + 1 == j, crossing[:, None], 0.0), 0)
    found += tl.sum(tl.where(i >= j, to_queries[:, None], 0.0), 0)
    found += tl.sum(tl.where(i < j, from_keys[:, None], 0.0), 0)
    found += through * tl.exp(tl.sum(g))
    store_vector(out, tl.where(real, found, 0.0), place, first, length, ROWS)
