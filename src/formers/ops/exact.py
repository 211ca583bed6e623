"""Exact attention: softmax over every visible pair, through torch's fused kernels, never an L×S tensor that stays."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention as sdpa
from torch.utils.checkpoint import checkpoint

from formers.ops import checks, plain
from formers.ops.dispatch import pick
from formers.ops.types import Bias

PAIRS_AT_ONCE = 1 << 20
"""Score masks and biases are made for blocks of query rows with at most so many (row, key) pairs a head."""


def attention(
    q_bhlk: Tensor,
    k_bhsk: Tensor,
    v_bhsv: Tensor,
    *,
    causal: bool = False,
    key_mask_bs: Tensor | None = None,
    bias: Bias = None,
    scale: float | None = None,
    impl: str = "auto",
) -> Tensor:
    """Scaled dot-product attention, `softmax(q kᵀ·scale + bias) v`.

    Args:
        q_bhlk: queries (B, H, L, K).
        k_bhsk, v_bhsv: keys (B, G, S, K) and values (B, G, S, V); G divides H, and H/G query heads share one (grouped
            queries).
        causal: query i sees keys up to i + S − L only: the last query sees the last key.
        key_mask_bs: (B, S) bool, True where a key is real. What masked keys and values hold, NaN too, does not matter.
        bias: added to the scaled scores: a tensor that broadcasts to (B, H, L, S), where −inf hides a pair; or a function
            `bias(start, stop)` giving rows `start … stop − 1`, (B or 1, H or 1, stop − start, S).
        scale: 1/√K by default.
        impl: "auto", "torch" (fused) or "plain" (from the formula).

    Returns:
        (B, H, L, V). A query that sees no key gives zeros, and its gradient is zero.

    Cost: O(LSK) time. Memory O((L + S)K) without bias and mask, plus one block of scores where they need one; rows are
    then recomputed in the backward pass instead of kept.
    Source: Vaswani et al. 2017, arXiv:1706.03762; grouped queries: Ainslie et al. 2023, arXiv:2305.13245.
    Raises `ValueError` for shapes, dtypes or masks that do not fit.
    """
    size = checks.sizes(q=(q_bhlk, "BhLK"), k=(k_bhsk, "BGSK"), v=(v_bhsv, "BGSV"))
    checks.same_dtype(q=q_bhlk, k=k_bhsk, v=v_bhsv)
    checks.groups(q_bhlk.shape[1], size["G"])
    checks.mask("key_mask_bs", key_mask_bs, size["B"], size["S"])
    check_bias(bias, (size["B"], q_bhlk.shape[1], size["L"], size["S"]))
    form = pick("attention", impl, {"torch": fused, "plain": plain.attention})
    return form(q_bhlk, k_bhsk, v_bhsv, causal=causal, key_mask_bs=key_mask_bs, bias=bias, scale=scale)


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
    """Attention with a learned metric, `softmax(p M pᵀ·scale + bias) p`: queries pM, keys and values p.

    Args:
        p_bhlk: the one projection of the tokens (B, H, L, K).
        m_hkk: a symmetric matrix per head (H, K, K).
        keys_bhsk: projections to attend to (B, H, S, K), a cache for example; p itself by default.
        causal, key_mask_bs, bias, scale, impl: as in `attention`.

    Returns:
        (B, H, L, K).

    Cost: that of `attention` and one product with M; never an L×L or an L²K² tensor.
    Source: nlp-metaformer. Its triangular form is `plain.metric_scores_triangular`, with what the published derivation
    gets wrong.
    """
    keys = p_bhlk if keys_bhsk is None else keys_bhsk
    checks.sizes(p=(p_bhlk, "BHLK"), m=(m_hkk, "HKK"), keys=(keys, "BHSK"))
    checks.same_dtype(p=p_bhlk, m=m_hkk, keys=keys)
    q_bhlk = p_bhlk @ m_hkk
    return attention(q_bhlk, keys, keys, causal=causal, key_mask_bs=key_mask_bs, bias=bias, scale=scale, impl=impl)


def check_bias(bias: Bias, shape: tuple[int, int, int, int]) -> None:
    """A bias tensor must be floating point and broadcast to the scores."""
    if not isinstance(bias, Tensor):
        return
    if not bias.is_floating_point():
        raise ValueError(f"bias has dtype {bias.dtype}; expected floating point, with -inf where a pair is hidden")
    padded = (1,) * (4 - bias.dim()) + tuple(bias.shape)
    if len(padded) != 4 or any(n not in (1, m) for n, m in zip(padded, shape, strict=True)):
        raise ValueError(f"bias has shape {tuple(bias.shape)}; expected one that broadcasts to (B, H, L, S) = {shape}")


def fused(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    causal: bool,
    key_mask_bs: Tensor | None,
    bias: Bias,
    scale: float | None,
) -> Tensor:
    """`attention` through `scaled_dot_product_attention`, with the smallest mask that does."""
    rows, keys = q.shape[2], k.shape[2]
    gqa = q.shape[1] != k.shape[1]
    if key_mask_bs is not None:
        hidden = ~key_mask_bs[:, None, :, None]
        k, v = k.masked_fill(hidden, 0), v.masked_fill(hidden, 0)
    if causal and rows > keys:  # the first queries come before every key
        blind = q.new_zeros(*q.shape[:2], rows - keys, v.shape[-1])
        if isinstance(bias, Tensor) and bias.dim() > 1 and bias.shape[-2] > 1:
            bias = bias[..., rows - keys :, :]
        shifted = (lambda start, stop: bias(start + rows - keys, stop + rows - keys)) if callable(bias) else bias
        seeing = fused(q[:, :, rows - keys :], k, v, causal=True, key_mask_bs=key_mask_bs, bias=shifted, scale=scale)
        return torch.cat([blind, seeing], 2)
    causal = causal and rows > 1
    if key_mask_bs is None and bias is None and (not causal or rows == keys):
        return sdpa(q, k, v, is_causal=causal, scale=scale, enable_gqa=gqa)

    def rows_of(start: int, stop: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        end = keys - rows + stop if causal else keys
        mask = score_mask(start, stop, end, q, causal, keys - rows, key_mask_bs, bias)
        return sdpa(q[:, :, start:stop], k[:, :, :end], v[:, :, :end], attn_mask=mask, scale=scale, enable_gqa=gqa)

    per_row = causal or callable(bias) or (isinstance(bias, Tensor) and bias.dim() > 1 and bias.shape[-2] > 1)
    block = max(16, PAIRS_AT_ONCE // keys) if per_row else rows
    if block >= rows:
        return rows_of(0, rows, q, k, v)
    blocks = [(start, min(start + block, rows)) for start in range(0, rows, block)]
    return torch.cat([checkpoint(rows_of, i, j, q, k, v, use_reentrant=False) for i, j in blocks], 2)


def score_mask(
    start: int,
    stop: int,
    end: int,
    q: Tensor,
    causal: bool,
    offset: int,
    key_mask_bs: Tensor | None,
    bias: Bias,
) -> Tensor | None:
    """What is added to (or allowed of) the scores of the rows `start … stop − 1` against the keys `0 … end − 1`."""
    seen = None if key_mask_bs is None else key_mask_bs[:, None, None, :end]
    if causal:
        row, key = (torch.arange(i, j, device=q.device) for i, j in ((start, stop), (0, end)))
        before = key <= row[:, None] + offset
        seen = before[None, None] if seen is None else seen & before
    if bias is None:
        return seen
    if callable(bias):
        added = bias(start, stop)
    else:
        added = bias[..., start:stop, :] if bias.dim() > 1 and bias.shape[-2] > 1 else bias
    added = added if added.shape[-1] == 1 else added[..., :end]
    added = added.to(q.dtype)
    added = added[(None,) * (4 - added.dim())]
    return added if seen is None else added.masked_fill(~seen, -torch.inf)
