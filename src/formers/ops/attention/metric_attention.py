"""Attention with a learned metric in place of queries and keys."""

from __future__ import annotations

from torch import Tensor

from formers.ops.attention.attention import attention
from formers.ops.attention.bias import Bias
from formers.ops.common import checks


def metric_attention(
    p_bhlk: Tensor,
    m_hkk: Tensor,
    *,
    keys_bhsk: Tensor | None = None,
    causal: bool = False,
    key_mask_bs: Tensor | None = None,
    bias: Bias = None,
    scale: float | None = None,
    impl: str = "auto",
) -> Tensor:
    """Return attention with a learned metric, `softmax(p M pᵀ·scale + bias) p`: queries pM, keys and values p.

    Args:
        p_bhlk: the one projection of the tokens (B, H, L, K).
        m_hkk: a symmetric matrix per head (H, K, K), brought to the dtype of p.
        keys_bhsk: projections to attend to (B, H, S, K), a cache for example; p itself by default.
        causal, key_mask_bs, bias, scale, impl: as in `attention`.

    Returns:
        (B, H, L, K).

    Cost: that of `attention` and one product with M; never an L×L or an L²K² tensor.
    Source: nlp-metaformer. Its triangular form is `naive.metric_scores_triangular`, with what the published derivation
    gets wrong.
    Raises `ValueError` as `attention` does.
    """
    keys = p_bhlk if keys_bhsk is None else keys_bhsk
    checks.sizes(p=(p_bhlk, "BHLK"), m=(m_hkk, "HKK"), keys=(keys, "BHSK"))
    checks.same_dtype(p=p_bhlk, keys=keys)
    q_bhlk = p_bhlk @ m_hkk.to(p_bhlk.dtype)
    q_bhlk = q_bhlk.to(p_bhlk.dtype)  # autocast may have made it narrower
    return attention(q_bhlk, keys, keys, causal=causal, key_mask_bs=key_mask_bs, bias=bias, scale=scale, impl=impl)
