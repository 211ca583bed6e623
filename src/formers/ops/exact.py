"""Exact attention: softmax over every visible pair, through torch's fused kernels, never an L×S tensor that stays."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.functional import scaled_dot_product_attention as sdpa
from torch.utils.checkpoint import checkpoint

from formers.ops import plain
from formers.ops.common import checks
from formers.ops.common.dispatch import pick
from formers.ops.types import Bias

SCORES_AT_ONCE = 1 << 21
"""Score masks and biases are made for blocks of query rows, of about so many entries at a time."""


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
            `bias(start, stop)` giving rows `start … stop − 1`, (B or 1, H or 1, stop − start, S), the same ones when it
            is called again for the backward pass.
        scale: 1/√K by default.
        impl: "auto", "torch" (fused) or "naive" (from the formula).

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
    form = pick("attention", impl, {"torch": fused, "naive": plain.attention})
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
        m_hkk: a symmetric matrix per head (H, K, K), brought to the dtype of p.
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
    checks.same_dtype(p=p_bhlk, keys=keys)
    q_bhlk = p_bhlk @ m_hkk.to(p_bhlk.dtype)
    q_bhlk = q_bhlk.to(p_bhlk.dtype)  # autocast may have made it narrower
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
    """`attention` through `scaled_dot_product_attention`: in one call where it needs no score mask, else block by block."""
    rows, keys, width = q.shape[2], k.shape[2], v.shape[3]
    blind = max(rows - keys, 0) if causal else 0
    if not keys or not rows:
        return q.new_zeros(*q.shape[:3], width)
    if blind:  # the first queries come before every key
        q, bias = q[:, :, blind:], _rows_from(blind, bias)
    scale = q.shape[3] ** -0.5 if scale is None else scale
    if key_mask_bs is not None:
        q, k, v, scale = _fold_mask(q, k, v, key_mask_bs, scale)
    q, k, v = _same_width(q, k, v)
    causal = causal and q.shape[2] > 1  # one query sees every key
    if bias is None and (not causal or rows >= keys):
        y = sdpa(q, k, v, is_causal=causal, scale=scale, enable_gqa=q.shape[1] != k.shape[1])
    else:
        y = _by_blocks(q, k, v, causal, bias, scale)
    y = y if y.shape[3] == width else y[..., :width]
    return pad(y, (0, 0, blind, 0)) if blind else y  # padding by nothing would still copy


def _rows_from(first: int, bias: Bias) -> Bias:
    """The bias of the query rows from `first` on."""
    if callable(bias):
        return lambda start, stop: bias(first + start, first + stop)
    return bias if bias is None or _one_for_all_rows(bias) else bias[..., first:, :]


def _one_for_all_rows(bias: Tensor) -> bool:
    return bias.dim() < 2 or bias.shape[-2] == 1


def _fold_mask(
    q: Tensor, k: Tensor, v: Tensor, key_mask_bs: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor, float]:
    """Hides masked keys in eight more columns of q and k, which take their scores so low that their weight is exactly 0.

    So a mask costs O(L + S), also together with causality, where a score mask would be O(LS). A row that sees masked keys
    only averages their values, which are 0, and passes no gradient: p·(dp − Σ p·dp) with dp = 0.
    """
    # Scaled here, the columns' product is a power of two, which no kernel rounds: off by one rounding between the forward
    # pass and the backward, exp(score − log-sum) would be infinite and the gradient NaN.
    q, scale = q * scale, 1.0
    hidden = ~key_mask_bs[:, None, :, None]
    reach = 2.0**15 if q.dtype == torch.float16 else 2.0**58
    column = k.new_zeros(()).masked_fill(hidden, -reach).expand(*k.shape[:3], 8)
    q = torch.cat([q, q.new_full((1, 1, 1, 1), reach).expand(*q.shape[:3], 8)], 3)
    return q, torch.cat([k.masked_fill(hidden, 0), column], 3), v.masked_fill(hidden, 0), scale


def _same_width(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """q, k and v filled up with zeros to one width, which the fused kernels want."""
    gap = v.shape[3] - q.shape[3]
    if gap == 0:
        return q, k, v
    return (pad(q, (0, gap)), pad(k, (0, gap)), v) if gap > 0 else (q, k, pad(v, (0, -gap)))


def _by_blocks(q: Tensor, k: Tensor, v: Tensor, causal: bool, bias: Bias, scale: float) -> Tensor:
    """Attention for blocks of query rows, each with its own score mask, made again in the backward pass, not kept."""
    (rows, keys), groups = (q.shape[2], k.shape[2]), q.shape[1] != k.shape[1]

    def block(start: int, stop: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        end = keys - rows + stop if causal else keys
        mask = _score_mask(start, stop, end, keys - rows if causal else None, bias, q)
        return sdpa(q, k[:, :, :end], v[:, :, :end], attn_mask=mask, scale=scale, enable_gqa=groups)

    if not causal and isinstance(bias, Tensor) and _one_for_all_rows(bias):
        return block(0, rows, q, k, v)
    step = max(16, SCORES_AT_ONCE // (keys * (1 if bias is None else q.shape[1])))
    if step >= rows:
        return block(0, rows, q, k, v)
    ys = []
    for start in range(0, rows, step):
        stop = min(start + step, rows)
        args = (start, stop, q[:, :, start:stop], k, v)
        again = torch.is_grad_enabled()
        ys.append(checkpoint(block, *args, use_reentrant=False, preserve_rng_state=False) if again else block(*args))
    return torch.cat(ys, 2)


def _score_mask(start: int, stop: int, end: int, offset: int | None, bias: Bias, q: Tensor) -> Tensor:
    """What is added to (or, if bool, allowed of) the scores of the rows `start … stop − 1` against the keys before `end`.

    With an `offset`, row i sees the keys up to i + offset.
    """
    added = bias(start, stop) if callable(bias) else bias
    if added is not None:
        if isinstance(bias, Tensor) and not _one_for_all_rows(added):
            added = added[..., start:stop, :]
        added = added[(None,) * (4 - added.dim())].to(q.dtype)
        added = added if added.shape[3] == 1 else added[..., :end]
    if offset is None:
        assert added is not None
        return added
    row, key = torch.arange(start, stop, device=q.device), torch.arange(end, device=q.device)
    seen = key <= row[:, None] + offset
    return seen if added is None else added.masked_fill(~seen, -torch.inf)
