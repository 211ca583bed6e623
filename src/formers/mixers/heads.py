"""Heads side by side in hidden states, and apart."""

from __future__ import annotations

from torch import Tensor


def split_heads(x_bld: Tensor, heads: int) -> Tensor:
    """Return (B, L, H·K) as (B, H, L, K)."""
    return x_bld.unflatten(-1, (heads, -1)).transpose(1, 2)


def join_heads(x_bhlk: Tensor) -> Tensor:
    """Return (B, H, L, K) as (B, L, H·K)."""
    return x_bhlk.transpose(1, 2).flatten(2)
