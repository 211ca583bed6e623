"""Heads side by side in hidden states, and apart."""

from __future__ import annotations

from torch import Tensor, nn

from formers.part import Part


def check_head_count(part: Part, option: str, least: int = 1) -> None:
    """Raise ValueError where an option that counts heads is below `least`. None leaves the count open.

    More heads than there are is for the site to refuse, which knows how many a model has.
    """
    count = getattr(part, option)
    if count is not None and count < least:
        raise ValueError(f"{part.name()}: {option} must be at least {least}, but {count} was given")


def split_heads(x_bld: Tensor, heads: int) -> Tensor:
    """Return (B, L, H·K) as (B, H, L, K)."""
    return x_bld.unflatten(-1, (heads, -1)).transpose(1, 2)


def normed(norm: nn.Module | None, x_bhlk: Tensor) -> Tensor:
    """Return queries or keys after their norm, in the dtype that they had: under autocast, norms compute in float32."""
    return x_bhlk if norm is None else norm(x_bhlk).to(x_bhlk.dtype)


def join_heads(x_bhlk: Tensor) -> Tensor:
    """Return (B, H, L, K) as (B, L, H·K)."""
    return x_bhlk.transpose(1, 2).flatten(2)
