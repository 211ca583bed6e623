"""Learned absolute positions."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from formers.part import Site
from formers.positions.position import Position, farthest_position


class Learned(Position):
    """A trained vector per position, added to the embedding: x_i + e(i + offset).

    Needs `context_length` × D parameters, and `offset` × D more.

    Source: Gehring et al. 2017, arXiv:1705.03122; as in BERT and GPT-2.
    """

    acts_on = "input"
    extrapolates = False
    added = {"offset": 0}  # noqa: RUF012
    beyond: Literal["raise", "copy"] = "raise"
    "At positions ≥ context_length: `raise`, or `copy` the table again from its start (as Longformer extends BERT's)."
    offset: int = 0
    "Rows of the table before that of position 0; nothing uses them. RoBERTa has 2."

    def check(self) -> None:
        if self.offset < 0:
            raise ValueError(f"learned: offset must be 0 or more, but {self.offset} was given")

    def build(self, site: Site) -> nn.Module:
        return LearnedPosition(site.context_length, site.width, copy=self.beyond == "copy", offset=self.offset)


class LearnedPosition(nn.Module):
    def __init__(self, length: int, width: int, *, copy: bool, offset: int = 0):
        super().__init__()
        self.table = nn.Embedding(offset + length, width)
        self.copy, self.offset = copy, offset

    def forward(self, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
        return x_bld + self.table(self.rows(positions_bl))

    def rows(self, positions_bl: Tensor) -> Tensor:
        """Return the rows of the table for these positions. Raise ValueError for one beyond it, if not copied."""
        length = self.table.num_embeddings - self.offset
        if self.copy:
            return positions_bl % length + self.offset
        if (farthest := farthest_position(positions_bl, length)) >= length:
            raise ValueError(
                f"learned() knows {length} positions, but position {farthest} was asked for; "
                "raise context_length, use learned(beyond='copy'), or a position that extrapolates, such as alibi() or "
                "rotary()"
            )
        return positions_bl + self.offset if self.offset else positions_bl
