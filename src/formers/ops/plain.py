"""The plain form of every op: a few lines straight from the formula, any dtype, O(L²) allowed.

The references that the fast forms are tested against, so they share no code with them. Same signatures, without `impl`.
"""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor

from formers.ops.types import Bias, LinearState, PoolState


def attention(
    q_bhlk: Tensor,
    k_bhsk: Tensor,
    v_bhsv: Tensor,
    *,
    causal: bool = False,
    key_mask_bs: Tensor | None = None,
    bias: Bias = None,
    scale: float | None = None,
) -> Tensor:
    """softmax(q kᵀ·scale + bias) v, row by row over the visible keys; zeros where a row sees none."""
    rows, keys, groups = q_bhlk.shape[2], k_bhsk.shape[2], q_bhlk.shape[1] // k_bhsk.shape[1]
    seen = torch.ones(rows, keys, dtype=torch.bool, device=q_bhlk.device)
    seen = seen.tril(keys - rows) if causal else seen
    if key_mask_bs is not None:
        real = key_mask_bs[:, None, :, None]
        k_bhsk, v_bhsv = k_bhsk.where(real, 0), v_bhsv.where(real, 0)
        seen = seen & key_mask_bs[:, None, None, :]
    k_bhsk, v_bhsv = k_bhsk.repeat_interleave(groups, 1), v_bhsv.repeat_interleave(groups, 1)
    r_bhls = q_bhlk @ k_bhsk.mT * (q_bhlk.shape[-1] ** -0.5 if scale is None else scale)
    if bias is not None:
        r_bhls = r_bhls + (bias(0, rows) if callable(bias) else bias)
    r_bhls = r_bhls.masked_fill(~seen, -torch.inf)
    empty = (r_bhls == -torch.inf).all(-1, keepdim=True)
    return r_bhls.masked_fill(empty, 0).softmax(-1).masked_fill(empty, 0) @ v_bhsv


def metric_attention(
    p_bhlk: Tensor,
    m_hkk: Tensor,
    *,
    keys_bhsk: Tensor | None = None,
    causal: bool = False,
    key_mask_bs: Tensor | None = None,
    bias: Bias = None,
    scale: float | None = None,
) -> Tensor:
    """softmax(p M keysᵀ·scale + bias) keys."""
    keys = p_bhlk if keys_bhsk is None else keys_bhsk
    return attention(p_bhlk @ m_hkk, keys, keys, causal=causal, key_mask_bs=key_mask_bs, bias=bias, scale=scale)


def metric_scores_triangular(p_bhlk: Tensor, m_hkk: Tensor) -> Tensor:
    """r_cc' = p_cᵀ M p_c' from the triangles c ≥ c' and k ≥ k' alone, each pair of tokens and of axes visited once.

    r_cc' = Σ_k M_kk p_ck p_c'k + Σ_{k>k'} M_kk' (p_ck p_c'k' + p_ck' p_c'k), then r_c'c = r_cc'.
    The published derivation (nlp-metaformer) writes 2·M_kk' p_ck p_c'k' for the second sum, which holds for c = c' only,
    and doubles r_cc' for c ≠ c' once more, though r_cc' is not a sum over both orders; neither computes p_cᵀ M p_c'.
    M must be symmetric. O(L²K²) memory: a reference to compare with.
    """
    c, d = torch.tril_indices(p_bhlk.shape[2], p_bhlk.shape[2], device=p_bhlk.device)
    k, j = torch.tril_indices(m_hkk.shape[-1], m_hkk.shape[-1], device=p_bhlk.device)
    pc, pd = p_bhlk[:, :, c], p_bhlk[:, :, d]
    both = pc[..., k] * pd[..., j] + pc[..., j] * pd[..., k] * (k != j)
    r_triangle = (m_hkk[:, None, k, j] * both).sum(-1)
    r_bhll = r_triangle.new_zeros(*p_bhlk.shape[:3], p_bhlk.shape[2])
    r_bhll[:, :, d, c] = r_triangle
    r_bhll[:, :, c, d] = r_triangle
    return r_bhll


def linear_attention(
    q_bhlm: Tensor,
    k_bhsm: Tensor,
    v_bhsv: Tensor,
    *,
    causal: bool = False,
    key_mask_bs: Tensor | None = None,
    state: LinearState | None = None,
    normalize: bool = True,
    floor: float = 1e-18,
) -> tuple[Tensor, LinearState]:
    """y_i = (q_i·S₀ + Σ_j (q_i·k_j) v_j) / (q_i·z₀ + Σ_j q_i·k_j), over j ≤ i when causal."""
    work = torch.promote_types(q_bhlm.dtype, torch.float32)
    q, k, v = q_bhlm.to(work), k_bhsm.to(work), v_bhsv.to(work)
    if key_mask_bs is not None:
        k, v = k.where(key_mask_bs[:, None, :, None], 0), v.where(key_mask_bs[:, None, :, None], 0)
    w_bhls = (q @ k.mT).tril() if causal else q @ k.mT
    s_bhmv, z_bhm = k.mT @ v, k.sum(2)
    y, d = w_bhls @ v, w_bhls.sum(-1, keepdim=True)
    if state is not None:
        y, s_bhmv = y + q @ state.s_bhmv, s_bhmv + state.s_bhmv
    if not normalize:
        return y.to(q_bhlm.dtype), LinearState(s_bhmv, None)
    if state is not None and state.z_bhm is not None:
        d, z_bhm = d + q @ state.z_bhm[..., None], z_bhm + state.z_bhm
    d = torch.where(d.abs() < floor, d.sign() * floor, d)
    y = torch.where(d == 0, 0, y / torch.where(d == 0, 1, d))
    return y.to(q_bhlm.dtype), LinearState(s_bhmv, z_bhm)


def dense_attention(
    q_bhlk: Tensor,
    x_bhsk: Tensor,
    *,
    causal: bool = False,
    key_mask_bs: Tensor | None = None,
    state: LinearState | None = None,
    order: str = "auto",
) -> tuple[Tensor, LinearState]:
    """(q xᵀ) x, over the past only when causal; `order` changes the rounding, so here it changes nothing."""
    return linear_attention(
        q_bhlk, x_bhsk, x_bhsk, causal=causal, key_mask_bs=key_mask_bs, state=state, normalize=False
    )


def fourier_mix(x_bld: Tensor) -> Tensor:
    """y_nd = Re Σ_le x_le exp(−2πi (nl/L + de/D)) = Σ_le x_le cos(2π (nl/L + de/D))."""
    _, length, width = x_bld.shape
    work = torch.promote_types(x_bld.dtype, torch.float32)
    n, d = (torch.arange(size, device=x_bld.device) for size in (length, width))
    a_nl = torch.outer(n, n).remainder(length).to(work) * (2 * pi / length)
    b_de = torch.outer(d, d).remainder(width).to(work) * (2 * pi / width)
    x = x_bld.to(work)
    return (a_nl.cos() @ x @ b_de.cos() - a_nl.sin() @ x @ b_de.sin()).to(x_bld.dtype)


def pool_mix(
    x_bld: Tensor,
    *,
    window: int = 3,
    causal: bool = False,
    mask_bl: Tensor | None = None,
    state: PoolState | None = None,
) -> tuple[Tensor, PoolState]:
    """y_i = mean of x over the window around i (its last `window` tokens when causal) − x_i, among the real tokens."""
    keep = window - 1
    y_bld, tails, counts = torch.zeros_like(x_bld), [], []
    for b, x_ld in enumerate(x_bld):
        real = torch.arange(len(x_ld)) if mask_bl is None else mask_bl[b].nonzero().flatten()
        past = x_ld[:0] if state is None else state.tokens_bwd[b, keep - int(state.count_b[b]) :]
        row = torch.cat([past, x_ld[real]])
        for i in range(len(past), len(row)):
            near = row[max(i - keep, 0) : i + 1] if causal else row[max(i - window // 2, 0) : i + window // 2 + 1]
            y_bld[b, real[i - len(past)]] = near.mean(0) - row[i]
        tail = row[max(len(row) - keep, 0) :]
        tails.append(torch.cat([tail.new_zeros(keep - len(tail), x_ld.shape[-1]), tail]))
        counts.append(len(tail))
    return y_bld, PoolState(torch.stack(tails), torch.tensor(counts, device=x_bld.device))
