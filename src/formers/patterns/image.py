"""Patterns on images."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from formers.ops.sparse_attention import Fold
from formers.patterns.pattern import Pattern


class Local2D(Pattern):
    """An image; queries in rectangles, each sees its rectangle and a halo above, left and right of it.

    The halo has no part below, and its parts left and right reach down to the rectangle's last row; with causality,
    what comes later in the sequence is left out. Pixels stand in it row after row, as they do elsewhere; the published
    code goes through one rectangle after the other (`order="blocks"`), so that a causal model sees all of those
    above and to the left. Source: Parmar et al. 2018 (Image Transformer), arXiv:1802.05751.
    """

    added = {"order": "raster"}  # noqa: RUF012
    height: int = 32
    "Rows of the image."
    width: int = 32
    "Columns of the image."
    block: int = 8
    "Height and width of a query rectangle."
    halo: int = 4
    "How far beyond the rectangle a query sees."
    order: Literal["raster", "blocks"] = "raster"
    "Pixels of the sequence: row after row, or rectangle after rectangle, and in each row after row, as published."

    @classmethod
    def name(cls) -> str:
        return "local2d"

    def check(self) -> None:
        if min(self.height, self.width, self.block) < 1 or self.halo < 0:
            raise ValueError(f"{self}: height, width and block must be at least 1 and halo at least 0")
        if self.order == "blocks" and (self.height % self.block or self.width % self.block):
            raise ValueError(f"{self}: order='blocks' needs a height and a width that are multiples of block")

    def longest(self) -> int:
        return self.height * self.width

    def mask(self, q_idx: Tensor, k_idx: Tensor) -> Tensor:
        (q_row, q_column), (k_row, k_column) = self.place(q_idx), self.place(k_idx)
        top, left = q_row // self.block * self.block, q_column // self.block * self.block
        rows = (k_row >= top - self.halo) & (k_row < top + self.block)
        return rows & (k_column >= left - self.halo) & (k_column < left + self.block + self.halo)

    def place(self, idx: Tensor) -> tuple[Tensor, Tensor]:
        """Return row and column of tokens."""
        if self.order == "raster":
            return idx // self.width, idx % self.width
        rectangle, inside = idx // self.block**2, idx % self.block**2
        across = self.width // self.block
        row = rectangle // across * self.block + inside // self.block
        return row, rectangle % across * self.block + inside % self.block

    def top(self, idx: Tensor) -> Tensor:
        """Return the first row of each token's rectangle."""
        return idx // self.width // self.block * self.block  # in both orders: a row of rectangles is block·width tokens

    def bounds(self, q_lo: Tensor, q_hi: Tensor, k_lo: Tensor, k_hi: Tensor) -> tuple[Tensor, Tensor]:
        least, most = self.top(k_lo), self.top(k_hi) + self.block - 1
        if self.order == "raster":
            least, most = k_lo // self.width, k_hi // self.width
        some = (most >= self.top(q_lo) - self.halo) & (least < self.top(q_hi) + self.block)
        return some, torch.zeros_like(some)

    def folded(self, length: int) -> Fold | None:
        """Return the order rectangle after rectangle, where it is another one."""
        if self.order == "blocks":
            return None
        row, column = torch.arange(length) // self.width, torch.arange(length) % self.width
        across = -(-self.width // self.block)
        rectangle = row // self.block * across + column // self.block
        return Fold(("rectangles", self.width, self.block), rectangle.argsort(stable=True))

    def recalled(self, k_idx: Tensor, next_idx: Tensor) -> Tensor:
        return self.place(k_idx)[0] >= self.top(next_idx) - self.halo

    def memory(self) -> int:
        return (self.block + self.halo) * self.width

    def growth(self) -> float:
        return 1.0
