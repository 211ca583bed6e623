"""torch's own attention, with a short way to its sizes and operations where there is no data."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from formers.ops.common.operations import has_only_sizes

WIDEST_FLASH = 256
"""The widest heads that flash attention on a GPU takes."""


def sdpa(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    *,
    causal: bool = False,
    scale: float | None = None,
    grouped: bool = False,
) -> Tensor:
    """Return `scaled_dot_product_attention` of q, k and v of one width.

    Where `has_only_sizes`, one of its kernels is called by name: on the meta device the function is made of some thirty
    operations, which take milliseconds a call.
    """
    if has_only_sizes(q):
        kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        y: Tensor = kernel(q, k, v, 0.0, causal, attn_mask=mask, scale=scale)[0]
        return y
    if grouped and not _shares_keys(q, mask):
        return _with_own_keys(q, k, v, mask, causal=causal, scale=scale)
    return scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, scale=scale, enable_gqa=grouped)


def _shares_keys(q: Tensor, mask: Tensor | None) -> bool:
    """Return whether a fused kernel takes query heads that share keys: on a GPU flash attention alone does.

    For anything else torch forms all scores.
    """
    return not q.is_cuda or (mask is None and q.dtype in (torch.float16, torch.bfloat16) and q.shape[3] <= WIDEST_FLASH)


def _with_own_keys(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, *, causal: bool, scale: float | None
) -> Tensor:
    """Return the same by kernels in which every query head has its own keys.

    The heads that share some become rows of one head, where all rows see the same; else keys and values are repeated.
    """
    sharing = q.shape[1] // k.shape[1]
    if not causal and (mask is None or (mask.dim() == 4 and mask.shape[1] == mask.shape[2] == 1)):
        rows = q.unflatten(1, (-1, sharing)).flatten(2, 3)
        y = scaled_dot_product_attention(rows, k, v, attn_mask=mask, scale=scale)
        return y.unflatten(2, (sharing, -1)).flatten(1, 2)
    k, v = (t.repeat_interleave(sharing, 1) for t in (k, v))
    return scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, scale=scale)
