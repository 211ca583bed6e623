"""Algebra that several references share: projections, heads, and a softmax over chosen pairs, in their plain form."""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor

Weights: TypeAlias = dict[str, Tensor]
"""The state dict of a module in float64: parameters and saved buffers by their names."""


def under(weights: Weights, name: str) -> Weights:
    """Return the weights of a submodule, by their names inside it."""
    prefix = f"{name}."
    return {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}


def project(weights: Weights, name: str, x: Tensor) -> Tensor:
    """Return W x + b for the linear layer of this name; without b where there is none."""
    y = x @ weights[f"{name}.weight"].T
    return y + weights[f"{name}.bias"] if f"{name}.bias" in weights else y


def heads_of(x_bld: Tensor, heads: int) -> Tensor:
    """Return the columns of every head, (B, L, H·K) → (B, H, L, K)."""
    width = x_bld.shape[2] // heads
    return torch.stack([x_bld[:, :, h * width : (h + 1) * width] for h in range(heads)], 1)


def side_by_side(x_bhlk: Tensor) -> Tensor:
    """Return the heads side by side, (B, H, L, K) → (B, L, H·K)."""
    return torch.cat([x_bhlk[:, h] for h in range(x_bhlk.shape[1])], -1)


def shared_heads(x_bglk: Tensor, heads: int) -> Tensor:
    """Return what each of the query heads reads: neighbouring ones share a head of keys and values."""
    return torch.stack([x_bglk[:, h * x_bglk.shape[1] // heads] for h in range(heads)], 1)


def everything(length: int, causal: bool) -> Tensor:
    """Return which keys a query may see, (L, L) bool: all, or when causal those with j ≤ i."""
    i = torch.arange(length)
    return i[None, :] <= i[:, None] if causal else torch.ones(length, length, dtype=torch.bool)


def attend(scores_bhls: Tensor, seen: Tensor, v_bhsv: Tensor, more_blsv: Tensor | None = None) -> Tensor:
    """Return Σ_j softmax_j(s_ij) (v_j + more_ij) over the keys that i sees; zeros for a query that sees none."""
    seen = seen.expand_as(scores_bhls)
    largest = torch.where(seen, scores_bhls, -torch.inf).amax(-1, keepdim=True).detach()
    largest = torch.where(largest.isinf(), 0.0, largest)
    weights = torch.where(seen, scores_bhls - largest, -torch.inf).exp()
    total = weights.sum(-1, keepdim=True)
    weights = torch.where(total > 0, weights / torch.where(total > 0, total, 1.0), 0.0)
    y_bhlv = weights @ v_bhsv
    if more_blsv is None:
        return y_bhlv
    return y_bhlv + torch.einsum("bhij,bijv->bhiv", weights, more_blsv.expand(len(weights), -1, -1, -1))
