"""Attention straight from the formula: any dtype, O(LS) memory. The fast forms are tested against it."""

from __future__ import annotations

import torch
from torch import Tensor

from formers.ops.attention.bias import Bias
from formers.ops.attention.relation import Relation


def attention(
    q_bhlk: Tensor,
    k_bhsk: Tensor,
    v_bhsv: Tensor,
    causal: bool = False,
    key_mask_bs: Tensor | None = None,
    bias: Bias = None,
    scale: float | None = None,
) -> Tensor:
    """Return softmax(q kᵀ·scale + bias) v, row by row over the visible keys; zeros where a row sees none.

    Under a relation, softmax(scores(queries(q) kᵀ·scale)) v + outputs(weights).

    Written as the quotient Σ exp(r_j) v_j / Σ exp(r_j), whose gradient of r_j is p_j (g·v_j − g·y). So it is in every
    form that keeps no weights, and it loses what these lose: where one weight is nearly 1, both products are nearly
    equal, each with roundings of its own. Through weights that are kept, autograd takes Σ p_j g·v_j for the second one,
    whose roundings are those of the first and cancel.
    """
    rows, keys, groups = q_bhlk.shape[2], k_bhsk.shape[2], q_bhlk.shape[1] // k_bhsk.shape[1]
    seen = torch.ones(rows, keys, dtype=torch.bool, device=q_bhlk.device)
    seen = seen.tril(keys - rows) if causal else seen
    if key_mask_bs is not None:
        real = key_mask_bs[:, None, :, None]
        k_bhsk, v_bhsv = k_bhsk.where(real, 0), v_bhsv.where(real, 0)
        seen = seen & key_mask_bs[:, None, None, :]
    k_bhsk, v_bhsv = k_bhsk.repeat_interleave(groups, 1), v_bhsv.repeat_interleave(groups, 1)
    meets_bhlk = bias.queries(q_bhlk) if isinstance(bias, Relation) else q_bhlk
    r_bhls = meets_bhlk @ k_bhsk.mT * (q_bhlk.shape[-1] ** -0.5 if scale is None else scale)
    if isinstance(bias, Relation):
        r_bhls = bias.scores(r_bhls, q_bhlk, k_bhsk, 0)
    elif bias is not None:
        r_bhls = r_bhls + (bias(0, rows) if callable(bias) else bias)
    r_bhls = r_bhls.masked_fill(~seen, -torch.inf)
    empty = (r_bhls == -torch.inf).all(-1, keepdim=True)
    r_bhls = r_bhls.masked_fill(empty, 0)
    w_bhls = (r_bhls - r_bhls.detach().logsumexp(-1, keepdim=True)).exp().masked_fill(empty, 0)
    sum_bhl1 = w_bhls.sum(-1, keepdim=True).masked_fill(empty, 1)
    more_bhlv = bias.outputs(w_bhls / sum_bhl1, 0) if isinstance(bias, Relation) else None
    y_bhlv = w_bhls @ v_bhsv / sum_bhl1
    return y_bhlv if more_bhlv is None else y_bhlv + more_bhlv


def metric_attention(
    p_bhlk: Tensor,
    m_hkk: Tensor,
    keys_bhsk: Tensor | None = None,
    causal: bool = False,
    key_mask_bs: Tensor | None = None,
    bias: Bias = None,
    scale: float | None = None,
) -> Tensor:
    """Return softmax(p M keysᵀ·scale + bias) keys."""
    keys = p_bhlk if keys_bhsk is None else keys_bhsk
    return attention(p_bhlk @ m_hkk, keys, keys, causal=causal, key_mask_bs=key_mask_bs, bias=bias, scale=scale)


def metric_scores_triangular(p_bhlk: Tensor, m_hkk: Tensor) -> Tensor:
    """Return r_cc' = p_cᵀ M p_c' from the triangles c ≥ c' and k ≥ k' alone.

    Each pair of tokens and of axes is visited once:
    r_cc' = Σ_k M_kk p_ck p_c'k + Σ_{k>k'} M_kk' (p_ck p_c'k' + p_ck' p_c'k), then r_c'c = r_cc'.
    The published derivation (nlp-metaformer) writes 2·M_kk' p_ck p_c'k' for the second sum, which holds for c = c'
    only, and doubles r_cc' for c ≠ c' once more, though r_cc' is not a sum over both orders; neither computes p_cᵀ M
    p_c'. M must be symmetric. O(L²K²) memory: a reference to compare with.
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
