"""Patterns on images."""

from __future__ import annotations

import torch
from torch import Tensor

from formers.ops.sparse_attention import Fold
from formers.patterns.pattern import Pattern


class Local2D(Pattern):
    """An image in raster order; queries in rectangles, each sees its rectangle and a halo above, left and right of it.

    The halo has no part below, and its parts left and right reach down to the rectangle's last row; with causality,
    what comes later in raster order is left out. Source: Parmar et al. 2018 (Image Transformer), arXiv:1802.05751.
    """

    height: int = 32
    "Rows of the image."
    width: int = 32
    "Columns of the image."
    block: int = 8
    "Height and width of a query rectangle."
    halo: int = 4
    "How far beyond the rectangle a query sees."

    @classmethod
    def name(cls) -> str:
        return "local2d"

    def check(self) -> None:
        if min(self.height, self.width, self.block) < 1 or self.halo < 0:
            raise ValueError(f"{self}: height, width and block must be at least 1 and halo at least 0")

    def longest(self) -> int:
        return self.height * self.width

    def mask(self, q_idx: Tensor, k_idx: Tensor) -> Tensor:
        (q_row, q_column), (k_row, k_column) = ((idx // self.width, idx % self.width) for idx in (q_idx, k_idx))
        top, left = q_row // self.block * self.block, q_column // self.block * self.block
        rows = (k_row >= top - self.halo) & (k_row < top + self.block)
        return rows & (k_column >= left - self.halo) & (k_column < left + self.block + self.halo)

    def bounds(self, q_lo: Tensor, q_hi: Tensor, k_lo: Tensor, k_hi: Tensor) -> tuple[Tensor, Tensor]:
        first, last = (idx // self.width // self.block * self.block for idx in (q_lo, q_hi))
        some = (k_hi // self.width >= first - self.halo) & (k_lo // self.width < last + self.block)
        return some, torch.zeros_like(some)

    def folded(self, length: int) -> Fold | None:
        """Return the order rectangle after rectangle."""
        row, column = torch.arange(length) // self.width, torch.arange(length) % self.width
        across = -(-self.width // self.block)
        rectangle = row // self.block * across + column // self.block
        return Fold(("rectangles", self.width, self.block), rectangle.argsort(stable=True))

    def recalled(self, k_idx: Tensor, next_idx: Tensor) -> Tensor:
        return k_idx // self.width >= next_idx // self.width // self.block * self.block - self.halo

    def memory(self) -> int:
        return (self.block + self.halo) * self.width

    def growth(self) -> float:
        return 1.0
