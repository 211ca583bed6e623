"""Attention with linear biases."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from formers.part import Site
from formers.positions.position import PairwisePosition, Position


class Alibi(Position):
    """A penalty on the scores that grows linearly with the distance, at a fixed slope per head.

    s_ij − m_h·|i − j|, m_h = 2^{−8h/H}, h = 1 … H; for H not a power of two, the slopes of the power below and then
    every other one of the power above. Nothing learned; works beyond the trained length. Source: Press et al. 2021,
    arXiv:2108.12409.
    """

    acts_on = "scores"

    def build(self, site: Site) -> nn.Module:
        return AlibiPosition(site.heads)


class AlibiPosition(PairwisePosition):
    like: Tensor
    "Without values; its dtype is the model's, which the bias must be as exact as."

    def __init__(self, heads: int):
        super().__init__()
        self.heads = heads
        self.register_buffer("like", torch.empty(0), persistent=False)

    def forward(self, q_positions_bl: Tensor, k_positions_bs: Tensor) -> Tensor:
        """Return the bias, (B|1, H, L, S) in float32 or wider; ask for it in blocks of queries when L·S is large."""
        wide = torch.promote_types(self.like.dtype, torch.float32)
        number_h = torch.arange(self.heads, device=q_positions_bl.device, dtype=torch.float64)
        slopes_h11 = _slope(number_h, self.heads).to(wide).view(-1, 1, 1)
        distance_b1ls = (q_positions_bl.unsqueeze(-1) - k_positions_bs.unsqueeze(-2)).abs().unsqueeze(1)
        return -slopes_h11 * distance_b1ls

    def of_pair(self) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        heads = self.heads
        return lambda h, q_position, k_position: -_slope(h, heads) * (q_position - k_position).abs()


def _slope(h: Tensor, heads: int) -> Tensor:
    """Return the slopes of heads by their numbers; made on the device, where a list would have to be sent to it."""
    below = 2 ** int(math.log2(heads))
    exponent = torch.where(h < below, (h + 1) * (-8 / below), (h - below + 0.5) * (-8 / below))
    return torch.exp2(exponent)


def alibi_slopes(heads: int) -> list[float]:
    """Return one slope per head, steepest first within each of the paper's two series."""
    slopes: list[float] = _slope(torch.arange(heads, dtype=torch.float64), heads).tolist()
    return slopes
