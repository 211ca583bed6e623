"""Linear attention beyond a window whose near pairs are FlexAttention: half types enter products as they are.

The kernel gives the near values divided by Σ e^s, and log Σ e^s; the largest score, which far weights are not divided
by, is the limit of log Σ e^(βs)/β for large β. So a second run of the kernel finds it with its gradient, without an
index and without a pass over scores.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from formers.ops.common.dtypes import accumulation_dtype
from formers.ops.common.flex_kernel import TILE, MaskMod, block_mask, flex_kernel, flex_reasons, in_tiles
from formers.ops.common.half_types import HALF
from formers.ops.common.tracing import fixed_size
from formers.ops.linear_attention.inputs import WindowedInputs
from formers.ops.linear_attention.normalizer import safe_divisor
from formers.ops.linear_attention.windowed_blocks import far_sums

_KEPT = 64
"""Lengths and windows whose tiles are kept."""
_SHARPNESS = {torch.float32: 2.0**10, torch.float64: 2.0**26}
"""β, by the dtype of sums. Keys whose scores are equal raise the largest by (log of how many)/β, less than bfloat16
rounds to; rounding a score s changes weights, made again in the backward pass, by βs times the dtype's ε: 1e−4 s."""
_NARROWEST = 16
"""Columns of values that the kernel takes where their sums are not wanted."""


def unsupported_reasons(inputs: WindowedInputs) -> list[str]:
    """Return why FlexAttention cannot run on these inputs, a sentence each."""
    reasons = flex_reasons(inputs.q_bhlk, inputs.k_bhlk, inputs.v_bhlv, instead="blocks")
    if inputs.v_bhlv.dtype not in HALF:
        reasons.append("it finds largest scores as exactly as half precision holds them; use impl='blocks'")
    return reasons


def windowed_linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    phi_q: Tensor,
    phi_k: Tensor,
    log_gain_h: Tensor | None,
    window: int,
    sinks: int,
    floor: float,
) -> Tensor:
    """Return the op of the same name. First derivatives alone; impl="blocks" has them all.

    Lengths are rounded up to whole tiles, as in kernel attention.
    """
    dtype, length, width = v.dtype, fixed_size(q.shape[2]), q.shape[3]
    far = far_sums(phi_q, phi_k, v, window, sinks)
    q, k, v = in_tiles(q), in_tiles(k), in_tiles(v)
    sharp = _SHARPNESS[accumulation_dtype(dtype)]
    near = _NearAttention(q, k, window, sinks)
    y, log_total = (t[:, :, :length] for t in near.attend(v, width**-0.5))
    if far is None:
        return y
    log_largest = near.attend(k.detach()[..., :_NARROWEST], sharp * width**-0.5)[1][:, :, :length] / sharp
    near_total = (log_total - log_largest).exp().unsqueeze(3)
    gain = near_total.new_ones(()) if log_gain_h is None else log_gain_h.to(near_total.dtype).exp()[:, None, None]
    total = safe_divisor(near_total + gain * far.total, floor)
    return y * (near_total / total).to(dtype) + (far.values * (gain / total).to(far.values.dtype)).to(dtype)


class _NearAttention:
    """Softmax attention of queries to the keys near them, at any scale of scores."""

    def __init__(self, q: Tensor, k: Tensor, window: int, sinks: int):
        self.q, self.k, self.use = q, k, ("near", window, sinks)
        kept = _make_tiles if torch.compiler.is_compiling() else _kept_tiles  # a compiled graph makes its own
        self.tiles = kept(q.shape[2], window, sinks, q.device)

    def attend(self, v: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        """Return y, (B, H, L, V), and log Σ e^s, (B, H, L)."""
        from torch.nn.attention.flex_attention import AuxRequest  # here, because it imports the compiler

        y, aux = flex_kernel(
            self.q,
            self.k,
            v,
            (*self.use, scale),
            block_mask=self.tiles,
            score_mod=None,
            scale=scale,
            return_aux=AuxRequest(lse=True),
        )
        return y, aux.lse


@torch.inference_mode(False)  # tiles first made for inference must serve training later
def _make_tiles(length: int, window: int, sinks: int, device: torch.device) -> Any:
    """Return the block mask of the near pairs."""
    first_n1 = torch.arange(0, length, TILE, device=device).unsqueeze(1)
    first_m, last = first_n1.mT, TILE - 1
    before_nm = first_m < first_n1
    some_nm = (first_m <= first_n1) & ((first_n1 - (first_m + last) < window) | (first_m < sinks))
    every_nm = before_nm & ((first_n1 + last - first_m < window) | (first_m + last < sinks))
    return block_mask(some_nm[None, None], every_nm[None, None], _near(window, sinks), (length, length))


_kept_tiles = lru_cache(_KEPT)(_make_tiles)


def _near(window: int, sinks: int) -> MaskMod:
    return lambda b, h, q, k: (k <= q) & ((q - k < window) | (k < sinks))
