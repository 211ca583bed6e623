"""Patterns that cut the sequence into stretches."""

from __future__ import annotations

from torch import Tensor

from formers.patterns.bands import same_cell
from formers.patterns.pattern import Pattern


class Chunk(Pattern):
    """Tokens of the same chunk. With a shift the boundaries move on, and what is left at both ends stands alone.

    Source: Argatkiny & Makarov 2025 (DenseAttention), Local and ShiftedLocal.
    """

    width: int = 64
    "Tokens in a chunk."
    shift: int = 0
    "How far the boundaries are moved; width/2 in ShiftedLocal."

    def check(self) -> None:
        if self.width < 1 or not 0 <= self.shift < self.width:
            raise ValueError(f"{self}: width must be at least 1 and shift at least 0 and below width")

    def _cell(self, idx: Tensor) -> Tensor:
        return (idx - self.shift).div(self.width, rounding_mode="floor")

    def mask(self, q_idx: Tensor, k_idx: Tensor) -> Tensor:
        return self._cell(q_idx) == self._cell(k_idx)

    def bounds(self, q_lo: Tensor, q_hi: Tensor, k_lo: Tensor, k_hi: Tensor) -> tuple[Tensor, Tensor]:
        return same_cell(*(self._cell(idx) for idx in (q_lo, q_hi, k_lo, k_hi)))

    def recalled(self, k_idx: Tensor, next_idx: Tensor) -> Tensor:
        return self.mask(next_idx, k_idx)

    def memory(self) -> int:
        return self.width - 1

    def growth(self) -> float:
        return 1.0


class Local1D(Pattern):
    """Queries in blocks along the raster order; each sees its block and `memory_width` tokens before that.

    Source: Parmar et al. 2018 (Image Transformer), arXiv:1802.05751, with l_q = block and l_m = block + memory_width.
    """

    block: int = 16
    "Queries in a block."
    memory_width: int = 32
    "Tokens before the block that its queries see, too."

    @classmethod
    def name(cls) -> str:
        return "local1d"

    def check(self) -> None:
        if self.block < 1 or self.memory_width < 0:
            raise ValueError(f"{self}: block must be at least 1 and memory_width at least 0")

    def mask(self, q_idx: Tensor, k_idx: Tensor) -> Tensor:
        start = q_idx // self.block * self.block
        return (k_idx >= start - self.memory_width) & (k_idx < start + self.block)

    def bounds(self, q_lo: Tensor, q_hi: Tensor, k_lo: Tensor, k_hi: Tensor) -> tuple[Tensor, Tensor]:
        first, last = (idx // self.block * self.block for idx in (q_lo, q_hi))
        some = (k_hi >= first - self.memory_width) & (k_lo < last + self.block)
        return some, (k_lo >= last - self.memory_width) & (k_hi < first + self.block)

    def recalled(self, k_idx: Tensor, next_idx: Tensor) -> Tensor:
        return k_idx >= next_idx // self.block * self.block - self.memory_width

    def memory(self) -> int:
        return self.block - 1 + self.memory_width

    def growth(self) -> float:
        return 1.0
