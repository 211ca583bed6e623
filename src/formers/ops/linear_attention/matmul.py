"""Linear attention by matrix products, in the order that is least work:

    through the scores   (q kᵀ) v    L S (M + V) multiplications: few tokens
    through the state    q (kᵀ v)    (L + S) M V: all pairs, single steps
    chunk by chunk       both        L (C (M + V) + 2 M V): causal sequences, see `chunked`

Tokens that are masked are zero in keys and values, and do not decay.
"""

from __future__ import annotations

import torch
from torch import Tensor

from formers.ops.common.half_types import multiplies_half
from formers.ops.common.padding import zero_masked
from formers.ops.common.tracing import is_left_open
from formers.ops.linear_attention.chunked import chunked
from formers.ops.linear_attention.elementwise import elementwise_features
from formers.ops.linear_attention.half_products import (
    half_chunks,
    half_through_scores,
    half_through_state,
)
from formers.ops.linear_attention.normalizer import safe_divisor
from formers.ops.linear_attention.state import LinearState, initial_sums, sums

SCORES_TO = 64
"""The most tokens for which a causal beginning goes through its scores: one chunk, without the products with a state
that is zero."""
STATE_FROM = 0.5
"""Dense attention over all pairs goes through the state once there are this many times as many keys as K; below,
through the scores. Less than 1, since the state is computed anyway, to be returned. See `benchmarks/dense_order.py`."""


def linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    causal: bool,
    key_mask_bs: Tensor | None,
    state: LinearState | None,
    normalize: bool,
    floor: float,
    log_decay_bhl: Tensor | None,
    feature: str = "identity",
) -> tuple[Tensor, LinearState]:
    """Return y and the state after the last key; the arguments are those of the op of the same name."""
    k, v = zero_masked(k, key_mask_bs), zero_masked(v, key_mask_bs)
    if feature != "identity":
        phi_q, phi_k = elementwise_features(q, feature), elementwise_features(k, feature)
        options = (causal, key_mask_bs, state, normalize, floor, log_decay_bhl)
        y, after = linear_attention(phi_q, phi_k, v.to(phi_k.dtype), *options)
        return y.to(q.dtype), after
    if log_decay_bhl is not None and key_mask_bs is not None:
        log_decay_bhl = log_decay_bhl.masked_fill(~key_mask_bs.unsqueeze(1), 0)
    length = q.shape[2]
    if causal and is_left_open(length):
        return chunked(q, k, v, initial_sums(q, v, state, normalize), floor, log_decay_bhl)
    if log_decay_bhl is None and multiplies_half(q, k, v) and length > 1:
        form = half_chunks if causal else half_through_state
        return form(q, k, v, state, normalize, floor)
    if not causal or length <= 1:
        return through_state(q, k, v, initial_sums(q, v, state, normalize), floor, log_decay_bhl)
    if state is None and log_decay_bhl is None and length <= SCORES_TO:
        return through_scores(q, k, v, causal, None, normalize, floor)
    return chunked(q, k, v, initial_sums(q, v, state, normalize), floor, log_decay_bhl)


def dense_attention(
    q: Tensor, x: Tensor, causal: bool, key_mask_bs: Tensor | None, state: LinearState | None, order: str
) -> tuple[Tensor, LinearState]:
    """Return y and the state of the op of the same name, by the order asked for, or by the faster one."""
    few_keys = not is_left_open(x.shape[2]) and x.shape[2] < STATE_FROM * q.shape[3]
    if not causal and (order == "scores" or (order == "auto" and few_keys)):
        x = zero_masked(x, key_mask_bs)
        if multiplies_half(q, x):
            return half_through_scores(q, x, state)
        return through_scores(q, x, x, causal, state, normalize=False, floor=0.0)
    return linear_attention(q, x, x, causal, key_mask_bs, state, normalize=False, floor=0.0, log_decay_bhl=None)


def through_scores(
    q: Tensor, k: Tensor, v: Tensor, causal: bool, state: LinearState | None, normalize: bool, floor: float
) -> tuple[Tensor, LinearState]:
    """Return y = (q kᵀ v + q S₀) / (q kᵀ 1 + q z₀), all scores written out, and the state after."""
    s, z = sums(k, v, normalize)
    q_acc = q.to(s.dtype)
    scores = q_acc @ k.to(s.dtype).mT
    scores = scores.tril() if causal else scores
    y = scores @ v.to(s.dtype)
    if state is not None:
        y, s = y + q_acc @ state.s_bhmv, s + state.s_bhmv
    if z is not None:
        d = scores.sum(-1, keepdim=True)
        if state is not None and state.z_bhm is not None:
            d, z = d + q_acc @ state.z_bhm.unsqueeze(-1), z + state.z_bhm
        y = y / safe_divisor(d, floor)
    return y.to(q.dtype), LinearState(s, z)


def through_state(
    q: Tensor, k: Tensor, v: Tensor, before: LinearState, floor: float, log_decay_bhl: Tensor | None
) -> tuple[Tensor, LinearState]:
    """Return y = q S / q z and the state after, S = g S₀ + kᵀ v, z = g z₀ + kᵀ 1.

    That is attention over all pairs, or one causal step with its decay g. Without tokens the state stays as it is.
    """
    s, z = before
    q_acc, k, v = q.to(s.dtype), k.to(s.dtype), v.to(s.dtype)
    if log_decay_bhl is not None:
        g_bh1 = log_decay_bhl.to(s.dtype).sum(2, keepdim=True).exp()
        s, z = s * g_bh1.unsqueeze(-1), None if z is None else z * g_bh1
    # one token's product is an outer one, faster element by element; without data, where products are counted, it stays
    one = k.shape[2] == 1 and not k.is_meta
    s = torch.addcmul(s, k.mT, v) if one else s + k.mT @ v
    y = q_acc @ s
    if z is not None:
        z = z + (k.squeeze(2) if one else k.sum(2))
        d = (z.unsqueeze(2) @ q_acc.mT).mT  # several times faster than q z, a product with one column
        d = safe_divisor(d, floor)
        y = y / d if torch.is_grad_enabled() else y.div_(d)
    return y.to(q.dtype), LinearState(s, z)
