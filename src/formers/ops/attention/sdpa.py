"""torch's own attention, with a short way to its sizes and operations where there is no data."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from formers.ops.common.operations import has_only_sizes


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
    return scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, scale=scale, enable_gqa=grouped)
