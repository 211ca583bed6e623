"""No position."""

from __future__ import annotations

from torch import Tensor, nn

from formers.part import Site
from formers.positions.position import Position


class NoPosition(Position):
    """No position: the model sees a set (or, when causal, only how much came before)."""

    @classmethod
    def name(cls) -> str:
        return "none"

    def build(self, site: Site) -> nn.Module:
        return IdentityPosition()


class IdentityPosition(nn.Module):
    """Returns its input."""

    def forward(self, x: Tensor, positions_bl: Tensor) -> Tensor:
        return x
