"""The plain form of every op: a few lines straight from the formula, any dtype, O(L²) allowed.

The references that the fast forms are tested against, so they share no code with them. Same signatures, without `impl`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from formers.ops.types import LinearState


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
