"""Outputs and gradients of linear attention, by one Triton kernel: all of them are mixtures of one shape.

    out_i = Σ_j D_ij (a_i·b_j + x_i y_j) ρ_j c_j + α_i (a_i S + x_i s)
    S = Σ_j β_j ρ_j b_j c_jᵀ        s = Σ_j β_j ρ_j y_j c_j

over j ≤ i in the chunk, S and s over what came before it; or, in reverse, over j ≥ i and what comes after. D, α and β
are decays: between two tokens, from the chunk's start to a token, and from a token to its end (in reverse the other way
round). With the letters of `chunks`, ρ = 1/d (1 where nothing is normalised), G the gradient of y, and e = −G·y:

    | out            | order   | a    | b    | c    | x | y | ρ_j | state    | then                |
    | y              | forward | φ(q) | φ(k) | v    |   |   |     | S (z: d) | / d                 |
    | gradient of q  | forward | G    | v    | φ(k) | e | 1 |     | Sᵀ, z    | · ρ_i φ'(q)         |
    | gradient of k  | reverse | v    | G    | φ(q) | 1 | e | yes | Rᵀ, r    | · φ'(k), masked     |
    | gradient of v  | reverse | φ(k) | φ(q) | G    |   |   | yes | R        | masked              |

A program goes through the chunks of one segment with the state at hand, in registers.
"""

from __future__ import annotations

import triton
import triton.language as tl

from formers.ops.linear_attention.triton_tiles import (
    decay_between,
    factor,
    features_slope,
    load_log_decay,
    load_real,
    load_tile,
    load_vector,
    narrowed,
    place_of,
    product,
    safe_reciprocal,
    store_tile,
    store_vector,
)


@triton.jit(do_not_specialize=["length", "keys", "segments"], do_not_specialize_on_alignment=["chunks"])
def mixtures(
    a,
    b,
    c,
    out,
    raw,
    row_out,
    row,
    extra,
    log_g,
    mask,
    state,
    end,
    divisor,
    sizes,
    length,
    keys,
    segments,
    chunks,
    floor,
    MAP_A: tl.constexpr,
    MAP_B: tl.constexpr,
    MAP_C: tl.constexpr,
    MAP_RAW: tl.constexpr,
    EXTRA: tl.constexpr,
    CAUSAL: tl.constexpr,
    REVERSE: tl.constexpr,
    TRANSPOSED: tl.constexpr,
    PRECISION: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_A: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Write one block of columns of a row of the table above, for the chunks of one segment.

    Over all pairs (not CAUSAL) S and s are those of the whole sequence. EXTRA is "none", "rows" (x = `extra`, y = 1)
    or "columns" (x = 1, y = `extra`). `divisor`, where given, makes out/d of it and keeps d. `state` is a tuple (S,
    numbers from one segment's to the next, the same of z or s), or None for zeros; `end`, for a sequence of one
    segment, takes the state after it.
    Programs: batch × heads × segments × blocks of c's columns.
    """
    heads, width_a, width_c = sizes
    blocks = tl.cdiv(width_c, BLOCK_C)
    place, program = place_of(heads, segments * blocks)
    n = place[2]
    segment, column = program // blocks, program % blocks * BLOCK_C
    a_at, c_at = tl.arange(0, BLOCK_A), column + tl.arange(0, BLOCK_C)
    inside = (a_at < width_a)[:, None] & (c_at < width_c)[None, :]
    if TRANSPOSED:
        within = a_at[:, None] + c_at[None, :] * width_a
    else:
        within = a_at[:, None] * width_c + c_at[None, :]
    s = tl.zeros((BLOCK_A, BLOCK_C), tl.float32)
    z = tl.zeros((BLOCK_A,), tl.float32)
    s_extra = tl.zeros((BLOCK_C,), tl.float32)
    if state is not None:
        slot = n * segments + segment if CAUSAL else n
        s += tl.load(state[0] + slot * state[1] + within, mask=inside, other=0.0)
        if divisor is not None:
            z += tl.load(state[2] + slot * state[3] + a_at, mask=a_at < width_a, other=0.0)
        if EXTRA != "none":
            s_extra += tl.load(state[2] + slot * state[3] + c_at, mask=c_at < width_c, other=0.0)
    i, j = tl.arange(0, ROWS)[:, None], tl.arange(0, ROWS)[None, :]
    for step in range(chunks):
        chunk = segment * chunks + step
        if REVERSE:
            chunk = segment * chunks + chunks - 1 - step
        first = chunk.to(tl.int64) * ROWS
        rows_real = load_real(mask if REVERSE else None, place, first, length, ROWS)
        a_tile, a_scale = factor(
            load_tile(a, place, first, length, 0, width_a, ROWS, BLOCK_A), rows_real, width_a, 0, MAP_A, BLOCK_A
        )
        s_half, s_scale = narrowed(s, a_tile.dtype)
        total = product(a_tile, s_half, PRECISION) * (a_scale * s_scale)
        if EXTRA == "rows":
            x = load_vector(extra, place, first, length, ROWS)
            total += x[:, None] * s_extra[None, :]
        if EXTRA == "columns":
            total += s_extra[None, :]
        if divisor is not None:
            d = tl.sum(a_tile.to(tl.float32) * z[None, :], 1) * a_scale
        if CAUSAL:
            real = load_real(None if REVERSE else mask, place, first, keys, ROWS)
            b_tile, b_scale = factor(
                load_tile(b, place, first, keys, 0, width_a, ROWS, BLOCK_A), real, width_a, 0, MAP_B, BLOCK_A
            )
            c_tile, c_scale = factor(
                load_tile(c, place, first, keys, column, width_c, ROWS, BLOCK_C), real, width_c, column, MAP_C, BLOCK_C
            )
            scores = product(a_tile, tl.trans(b_tile), PRECISION) * (a_scale * b_scale)
            weight = tl.full((ROWS,), 1.0, tl.float32)
            y = tl.where(real, 1.0, 0.0)
            if EXTRA == "rows":
                scores += x[:, None]
            if EXTRA == "columns":
                y = load_vector(extra, place, first, keys, ROWS)
                scores += y[None, :]
            if row is not None:
                weight *= load_vector(row, place, first, keys, ROWS)
                scores *= weight[None, :]
            if log_g is not None:
                g, g_after = load_log_decay(log_g, mask, place, first, keys, ROWS)
                since, to_end = tl.exp(tl.cumsum(g, 0)), tl.exp(tl.cumsum(g_after, 0, reverse=True))
                scores *= decay_between(g, REVERSE, ROWS)
                total *= (to_end if REVERSE else since)[:, None]
                weight *= since if REVERSE else to_end
                whole = tl.exp(tl.sum(g))
                s *= whole
            scores = tl.where((j >= i) if REVERSE else (j <= i), scores, 0.0)
            if divisor is not None:
                if log_g is not None:
                    d *= since
                    z *= whole
                d += tl.sum(scores, 1)
                z += tl.sum(b_tile.to(tl.float32) * weight[:, None], 0) * b_scale
            if EXTRA != "none":
                if log_g is not None:
                    s_extra *= whole
                s_extra += tl.sum(c_tile.to(tl.float32) * (weight * y)[:, None], 0) * c_scale
        if divisor is not None:
            reciprocal = safe_reciprocal(d, floor)
            total *= reciprocal[:, None]
            if CAUSAL:
                scores *= reciprocal[:, None]
            if column == 0:
                store_vector(divisor, d, place, first, length, ROWS)
        if CAUSAL:
            scores_half, scale = narrowed(scores, a_tile.dtype)
            total += product(scores_half, c_tile, PRECISION) * (scale * c_scale)
            if (row is not None) or (log_g is not None):
                b_tile, scale = narrowed(b_tile.to(tl.float32) * weight[:, None], b_tile.dtype)
                b_scale *= scale
            s += product(tl.trans(b_tile), c_tile, PRECISION) * (b_scale * c_scale)
        if row_out is not None:
            total *= load_vector(row_out, place, first, length, ROWS)[:, None]
        if MAP_RAW != "identity":
            total *= features_slope(load_tile(raw, place, first, length, column, width_c, ROWS, BLOCK_C), MAP_RAW)
        if REVERSE:
            total = tl.where(rows_real[:, None], total, 0.0)
        store_tile(out, total, place, first, length, column, width_c, ROWS, BLOCK_C)
    if end is not None:
        tl.store(end[0] + n * width_a * width_c + within, s, mask=inside)
        if (divisor is not None) and (column == 0):
            tl.store(end[1] + n * width_a + a_at, z, mask=a_at < width_a)
