"""The even and the odd part of x along both axes, and y from the products of both, by operations of torch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def held(size: int) -> int:
    """Return how many places of an axis hold a part: 0 … size/2, and zeros up to a multiple of 16, for tensor cores."""
    return -(-(size // 2 + 1) // 16) * 16


def fold(x_bld: Tensor) -> tuple[Tensor, Tensor]:
    """Return the parts of x that are even and odd along both axes, (B, held(L), held(D)), rounded once."""
    return _part(x_bld, 1), _part(x_bld, -1)


def unfold(a: Tensor, b: Tensor, length: int, width: int) -> Tensor:
    """Return y from A and B, (B, L, D): A − B at n, d and −n, −d, A + B at −n, d and n, −d."""
    dtype = a.dtype
    a, b = (t[:, : length // 2 + 1, : width // 2 + 1].float() for t in (a, b))
    less, more = a - b, a + b
    left, right = (_joined(first, back, 1, length) for first, back in ((less, more), (more, less)))
    return _joined(left, right, 2, width).to(dtype)


def _part(x_bld: Tensor, sign: int) -> Tensor:
    t = x_bld.float()
    for dim in (1, 2):
        backwards = t.flip(dim).roll(1, dim)  # t at −i
        t = ((t + sign * backwards) / 2).narrow(dim, 0, t.shape[dim] // 2 + 1)
    rows, cols = (held(size) - size // 2 - 1 for size in x_bld.shape[1:])
    return F.pad(t, (0, cols, 0, rows)).to(x_bld.dtype)


def _joined(first: Tensor, back: Tensor, dim: int, size: int) -> Tensor:
    """Return `first` at places 0 … size/2 and `back` at their negatives, which are the rest."""
    return torch.cat([first, back.narrow(dim, 1, size - first.shape[dim]).flip(dim)], dim)
