"""Linear attention whose half-precision factors are multiplied as they are: for GPUs, and heads too wide for Triton.

Tensor cores multiply half types many times faster than float32 and add in float32, so that nothing is converted first.
States and denominators are float32. float16 ends at 65,504: what may leave it enters a product divided by its largest
number, and the product is multiplied by it again.
"""

from __future__ import annotations

import torch
from torch import Tensor

from formers.ops.common.half_types import multiplies_half
from formers.ops.linear_attention.normalizer import safe_divisor
from formers.ops.linear_attention.state import LinearState
from formers.ops.linear_attention.wide_products import narrowed, rounded_product, wide_product

SMALLEST_CHUNK, LARGEST_CHUNK = 64, 512
"""Tokens in a chunk of causal attention: as many as features, so that its state is about as large as its keys."""


def scores_product(a_bhls: Tensor, v_bhsv: Tensor) -> Tensor:
    """Return a v in the dtype of a: with half values on a GPU, a is narrowed to multiply them."""
    return _times(a_bhls, v_bhsv, dtype=v_bhsv.dtype) if multiplies_half(v_bhsv) else a_bhls @ v_bhsv.to(a_bhls.dtype)


def half_through_state(
    q: Tensor, k: Tensor, v: Tensor, before: LinearState | None, normalize: bool, floor: float
) -> tuple[Tensor, LinearState]:
    """Return y = q S / q z over all pairs and the state after, as `through_state` does; None before is zeros."""
    s = _added(wide_product(k.mT, v), before and before.s_bhmv)
    if not normalize:
        return rounded_product(q, *narrowed(s, q.dtype)), LinearState(s, None)
    z = _added(k.sum(2, dtype=torch.float32), before and before.z_bhm)
    return (_times(q, s) / safe_divisor(_dot(q, z), floor)).to(q.dtype), LinearState(s, z)


def half_through_scores(q: Tensor, x: Tensor, before: LinearState | None) -> tuple[Tensor, LinearState]:
    """Return y = (q xᵀ) x + q S₀ over all pairs, and S₀ + xᵀ x: dense attention where keys are few."""
    s = wide_product(x.mT, x)
    if before is None:
        scores, scale = _narrow_product(q, x.mT)
        return rounded_product(scores, x, scale), LinearState(s, None)
    y = _times(q, x.mT, x) + _times(q, before.s_bhmv)
    return y.to(q.dtype), LinearState(before.s_bhmv + s, None)


def half_chunks(
    q: Tensor, k: Tensor, v: Tensor, before: LinearState | None, normalize: bool, floor: float
) -> tuple[Tensor, LinearState]:
    """Return y and the state after the last token, causal: chunk after chunk, in operations that autograd knows.

    Cost: O(L M V + L C (M + V)) time; keeps the scores of each chunk in half precision, and its state.
    """
    chunk = min(max(SMALLEST_CHUNK, 1 << (q.shape[3] - 1).bit_length()), LARGEST_CHUNK)
    ys, s, z = [], before and before.s_bhmv, before.z_bhm if before and normalize else None
    for start in range(0, q.shape[2], chunk):
        here = slice(start, start + chunk)
        q_c, k_c, v_c = q[:, :, here], k[:, :, here], v[:, :, here]
        scores, scale = _narrow_product(q_c, k_c.mT, causal=True)
        y = _scaled(wide_product(scores, v_c), scale)
        y = y if s is None else y + _times(q_c, s)
        if normalize:
            d = _scaled(scores.sum(3, keepdim=True, dtype=torch.float32), scale)
            d, z = d if z is None else d + _dot(q_c, z), _added(k_c.sum(2, dtype=torch.float32), z)
            y = y / safe_divisor(d, floor)
        ys.append(y.to(q.dtype))
        s = _added(wide_product(k_c.mT, v_c), s)
    assert s is not None
    return torch.cat(ys, 2), LinearState(s, z)


def _narrow_product(a: Tensor, b: Tensor, *, causal: bool = False) -> tuple[Tensor, Tensor | float]:
    """Return (a b/s in half precision, s) as `narrowed` does; nothing above the diagonal where causal."""
    if a.dtype != torch.float16:
        return (a @ b).tril() if causal else a @ b, 1.0
    product = wide_product(a, b)
    return narrowed(product.tril() if causal else product, a.dtype)


def _times(q: Tensor, *factors: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return q times one factor after the other in float32, each narrowed to a dtype, that of q, for the next."""
    dtype = q.dtype if dtype is None else dtype
    scale: Tensor | float = 1.0
    product = q
    for factor in factors:
        a, of_a = narrowed(product, dtype)
        b, of_b = narrowed(factor, dtype)
        product, scale = wide_product(a, b), scale * of_a * of_b
    return _scaled(product, scale)


def _dot(q: Tensor, z_bhm: Tensor) -> Tensor:
    """Return q z, (B, H, L, 1), in float32."""
    z, scale = narrowed(z_bhm.unsqueeze(2), q.dtype)
    return _scaled(wide_product(z, q.mT).mT, scale)


def _scaled(t: Tensor, scale: Tensor | float) -> Tensor:
    """Return t · s for the s of `narrowed`."""
    return t if isinstance(scale, float) else t * scale


def _added(t: Tensor, before: Tensor | None) -> Tensor:
    return t if before is None else before + t
