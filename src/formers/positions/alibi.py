"""Attention with linear biases."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from formers.ops import DistanceTerms
from formers.part import Site
from formers.positions.distances import Distances
from formers.positions.position import Position
from formers.positions.relative import RelativePosition, RelativeScores


class Alibi(Position):
    """A penalty on the scores that grows linearly with the distance, at a fixed slope per head.

    s_ij − m_h·|i − j|, m_h = 2^{−8h/H}, h = 1 … H; for H not a power of two, the slopes of the power below and then
    every other one of the power above. Nothing learned; works beyond the trained length. Source: Press et al. 2021,
    arXiv:2108.12409.
    """

    acts_on = "scores"

    def build(self, site: Site) -> nn.Module:
        return AlibiPosition(site.heads)


class AlibiPosition(RelativePosition):
    like: Tensor
    "Without values; its dtype is the model's, which the penalties must be as exact as."

    def __init__(self, heads: int):
        super().__init__()
        self.heads = heads
        self.register_buffer("like", torch.empty(0), persistent=False)

    def forward(self, q_positions_bl: Tensor, k_positions_bs: Tensor) -> RelativeScores:
        wide = torch.promote_types(self.like.dtype, torch.float32)
        number_h = torch.arange(self.heads, device=q_positions_bl.device, dtype=torch.float64)
        return _Penalties(q_positions_bl, k_positions_bs, _slope(number_h, self.heads).to(wide))


@dataclass(frozen=True, eq=False)
class _Penalties(RelativeScores):
    """−m_h·|i − j| for queries at i and keys at j, in float32 or wider."""

    q_bl: Tensor
    k_bs: Tensor
    slopes_h: Tensor

    def rows(self, start: int, stop: int) -> Tensor:
        """Return the penalties of queries `start … stop − 1` with all keys, (B or 1, H, l, S)."""
        distance_b1ls = (self.q_bl[:, start:stop, None] - self.k_bs[:, None]).abs().unsqueeze(1)
        return -self.slopes_h.view(-1, 1, 1) * distance_b1ls

    def bias(self, q_bhlk: Tensor, k_bgsk: Tensor, start: int) -> Tensor:
        of_first_keys = replace(self, k_bs=self.k_bs[:, : k_bgsk.shape[2]])
        return of_first_keys.rows(start, start + q_bhlk.shape[2])

    def added_rows(self) -> Callable[[int, int], Tensor]:
        return self.rows

    def by_distance(self, q_bhlk: Tensor) -> DistanceTerms | None:
        distances = Distances.whole(self.q_bl, self.k_bs)
        if distances is None or distances.first is None:
            return None
        return DistanceTerms(distances.first, distances.low, added_hn=-self.slopes_h[:, None] * distances.all().abs())

    def at(self, q_positions_bl: Tensor, k_positions_bs: Tensor) -> RelativeScores:
        return replace(self, q_bl=q_positions_bl, k_bs=k_positions_bs)

    def depends_on(self, q_bhlk: Tensor, k_bgsk: Tensor) -> tuple[Tensor, ...]:
        return ()

    @property
    def is_pairwise(self) -> bool:
        return True

    def of_pair(self, q_bhlk: Tensor) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
        heads = len(self.slopes_h)
        return lambda b, h, q, distance: -_slope(h, heads) * distance.abs()


def _slope(h: Tensor, heads: int) -> Tensor:
    """Return the slopes of heads by their numbers; made on the device, where a list would have to be sent to it."""
    below = 2 ** int(math.log2(heads))
    exponent = torch.where(h < below, (h + 1) * (-8 / below), (h - below + 0.5) * (-8 / below))
    return torch.exp2(exponent)


def alibi_slopes(heads: int) -> list[float]:
    """Return one slope per head, steepest first within each of the paper's two series."""
    slopes: list[float] = _slope(torch.arange(heads, dtype=torch.float64), heads).tolist()
    return slopes
