"""References of DenseAttention: one projection, of the queries; the tokens themselves are keys and values."""

from __future__ import annotations

import torch
from torch import Tensor

from formers.mixers import Dense, LocalDense, SlidingDense
from formers.part import Site
from formers.testing.references.algebra import Weights, everything, heads_of, project, side_by_side
from formers.testing.references.positions import on_heads, on_layer
from formers.testing.references.registry import reference


@reference(Dense)
def dense(part: Dense, site: Site, weights: Weights, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
    """y_i = Σ_j (x_i W_Q·x_j) x_j / N over all N tokens, over the N = i + 1 up to i when causal."""
    length = x_bld.shape[1]
    count_l1 = torch.arange(1, length + 1)[:, None] if site.causal else torch.full((length, 1), length)
    return _summed(part, site, weights, x_bld, positions_bl, everything(length, site.causal)) / count_l1


@reference(LocalDense)
def local_dense(part: LocalDense, site: Site, weights: Weights, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
    """y_i = Σ_j (x_i W_Q·x_j) x_j / w over the window of i: windows of w tokens, the boundaries moved by the shift.

    With `restart` a token's position is its place in the window.
    """
    cell = [(i - part.shift) // part.window for i in range(x_bld.shape[1])]
    seen = torch.tensor([[a == b for b in cell] for a in cell])
    if part.restart:
        positions_bl = torch.tensor([[i - (c * part.window + part.shift) for i, c in enumerate(cell)]])
    return _summed(part, site, weights, x_bld, positions_bl, seen) / part.window


@reference(SlidingDense)
def sliding_dense(part: SlidingDense, site: Site, weights: Weights, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
    """y_i = Σ_j (x_i W_Q·x_j) x_j / w over i − w < j ≤ i."""
    length = x_bld.shape[1]
    seen = torch.tensor([[i - part.window < j <= i for j in range(length)] for i in range(length)])
    return _summed(part, site, weights, x_bld, positions_bl, seen) / part.window


def _summed(
    part: Dense | LocalDense | SlidingDense,
    site: Site,
    weights: Weights,
    x_bld: Tensor,
    positions_bl: Tensor,
    seen: Tensor,
) -> Tensor:
    """Return Σ_j (x_i W_Q·x_j) x_j per head over the pairs seen; a position turns the factors, and not the values."""
    own = site.with_heads(part.heads)
    x_bld = on_layer(own, weights, x_bld, positions_bl)
    x = heads_of(x_bld, part.heads)
    q = on_heads(own, weights, heads_of(project(weights, "q_proj", x_bld), part.heads), positions_bl)
    k = on_heads(own, weights, x, positions_bl)
    scores = torch.where(seen, torch.einsum("bhik,bhjk->bhij", q, k), 0.0)
    return side_by_side(scores @ x)
