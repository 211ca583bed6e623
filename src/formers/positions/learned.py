"""Learned absolute positions."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from formers.part import Site
from formers.positions.position import Position


class Learned(Position):
    """A trained vector per position, added to the embedding. Needs `context_length` × D parameters; nothing beyond it.

    Source: Gehring et al. 2017, arXiv:1705.03122; as in BERT and GPT-2.
    """

    acts_on = "input"
    extrapolates = False
    beyond: Literal["raise", "copy"] = "raise"
    "At positions ≥ context_length: `raise`, or `copy` the table again from its start (as Longformer extends BERT's)."

    def build(self, site: Site) -> nn.Module:
        return LearnedPosition(site.context_length, site.width, copy=self.beyond == "copy")


class LearnedPosition(nn.Module):
    def __init__(self, length: int, width: int, copy: bool):
        super().__init__()
        self.table = nn.Embedding(length, width)
        self.copy = copy

    def forward(self, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
        return x_bld + self.table(self.rows(positions_bl))

    def rows(self, positions_bl: Tensor) -> Tensor:
        """Return the rows of the table for these positions. Raise ValueError for one beyond it, if not copied."""
        length = self.table.num_embeddings
        if self.copy:
            return positions_bl % length
        readable = not torch.compiler.is_compiling() and not positions_bl.is_meta
        if readable and positions_bl.numel() and int(positions_bl.max()) >= length:
            raise ValueError(
                f"learned() knows {length} positions, but position {int(positions_bl.max())} was asked for; "
                "raise context_length, use learned(beyond='copy'), or a position that extrapolates, such as alibi() or "
                "rotary()"
            )
        return positions_bl
