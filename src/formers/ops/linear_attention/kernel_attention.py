"""Linear attention from its similarities, where tokens are fewer than features."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from formers.ops.common import checks
from formers.ops.common.derivatives import is_transformed
from formers.ops.common.dtypes import accumulation_dtype, without_autocast
from formers.ops.common.padding import zero_masked
from formers.ops.linear_attention.half_products import scores_product
from formers.ops.linear_attention.normalizer import safe_divisor
from formers.ops.linear_attention.state import check_causal


def kernel_attention(
    a_bhls: Tensor,
    v_bhsv: Tensor,
    *,
    causal: bool = False,
    key_mask_bs: Tensor | None = None,
    normalize: bool = True,
    floor: float = 1e-18,
) -> Tensor:
    """Return linear attention from a_ij = φ(q_i)·φ(k_j): y_i = Σ_j a_ij v_j / Σ_j a_ij, over j ≤ i when causal.

    Cheaper than `linear_attention` where tokens are fewer than features and the kernel φ(q)·φ(k) has a closed form.

    Args:
        a_bhls: similarities (B, H, L, S). What stands at masked pairs, NaN too, does not matter.
        v_bhsv, causal, key_mask_bs, normalize, floor: as in `linear_attention`.

    Returns:
        y (B, H, L, V) in the dtype of v. Sums are float32 for half types.

    Cost: O(L S V) time, O(L S) memory. Raises ValueError for shapes or masks that do not fit.
    """
    size = checks.sizes(a=(a_bhls, "BHLS"), v=(v_bhsv, "BHSV"))
    checks.mask("key_mask_bs", key_mask_bs, size["B"], size["S"])
    check_causal(causal, size["L"], size["S"])
    dtype = accumulation_dtype(v_bhsv.dtype)
    a, v = a_bhls.to(dtype), zero_masked(v_bhsv, key_mask_bs)
    a = a if key_mask_bs is None else a.masked_fill(~key_mask_bs[:, None, None], 0)
    a = a.tril() if causal else a
    with without_autocast(v.device):
        y = scores_product(a, v)
        if normalize:
            y = y / safe_divisor(a.sum(-1, keepdim=True), floor)
        return y.to(v_bhsv.dtype)


def kernel_attention_in_blocks(
    kernel: Callable[[Tensor, Tensor], Tensor],
    q_bhlk: Tensor,
    k_bhsk: Tensor,
    v_bhsv: Tensor,
    *,
    causal: bool = False,
    key_mask_bs: Tensor | None = None,
    normalize: bool = True,
    floor: float = 1e-18,
    queries_at_once: int = 512,
) -> Tensor:
    """Return `kernel_attention(kernel(q, k), v, …)`, some queries at a time, whose similarities are not kept.

    The backward pass makes them again, so that memory is O(block · S) beside inputs and outputs, for a third more time;
    causal blocks look at no later key. For a GPU, where similarities of all pairs fill the memory before they take
    long.

    Args:
        kernel: (B, H, L, K), (B, H, S, K) → φ(q)·φ(k), (B, H, L, S).
        q_bhlk, k_bhsk: what features would be made of. The others are those of `kernel_attention`.

    Raises ValueError for shapes or masks that do not fit.
    """
    length, keys = q_bhlk.shape[2], k_bhsk.shape[2]
    checks.mask("key_mask_bs", key_mask_bs, q_bhlk.shape[0], keys)
    check_causal(causal, length, keys)
    ys = []
    for start in range(0, length, queries_at_once):
        end = min(start + queries_at_once, length)
        seen = end if causal else keys
        mask = None if key_mask_bs is None else key_mask_bs[:, :seen]
        run = partial(_block, kernel, start if causal else seen, mask, normalize, floor)
        given = q_bhlk[:, :, start:end], k_bhsk[:, :, :seen], v_bhsv[:, :, :seen]
        if torch.is_grad_enabled() and not is_transformed():
            ys.append(checkpoint(run, *given, use_reentrant=False, preserve_rng_state=False))
        else:
            ys.append(run(*given))
    return torch.cat(ys, 2)


def _block(
    kernel: Callable[[Tensor, Tensor], Tensor],
    first: int,
    mask: Tensor | None,
    normalize: bool,
    floor: float,
    q: Tensor,
    k: Tensor,
    v: Tensor,
) -> Tensor:
    """Return y of queries of which the first sees the keys up to `first`, each one more than the one before."""
    return kernel_attention(kernel(q, k).tril(first), v, key_mask_bs=mask, normalize=normalize, floor=floor)
