"""Cosine relative positions of DenseAttention."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from formers.part import Site
from formers.positions.position import Position
from formers.positions.sinusoidal import check_base


class Cosine(Position):
    """Multiplies the hidden states that enter a mixer by cosines of the position: one multiply, nothing rearranged.

    x_im → x_im · cos(i·θ_m), θ_m = base^{−m/D}, m = 0 … D − 1. Products of two positions then hold cos((i−j)θ) and
    cos((i+j)θ), so scores depend on the difference and, unlike rotary's, also on the sum. Over all places, a feature's
    score never shrinks below 0.58 of the nearest, where rotary's vanishes a quarter turn away; summed over features
    that agree, both shrink alike (docs/positions.md).

    The published code has the frequencies of one head's width in every head (`per_head`), which is the same for the one
    head that `dense` has unless told otherwise, and counts from 0 in every window of its local attention
    (`local_dense(restart=True)`). Source: Argatkiny & Makarov 2025 (DenseAttention), appendix H.
    """

    acts_on = "layer"
    added = {"per_head": False}  # noqa: RUF012
    base: float = 10000.0
    "The slowest feature turns once in about 2π·base tokens."
    wave: Literal["cos", "cos-sin"] = "cos"
    "`cos`, or the variant `cos-sin` (cos iθ − sin iθ), whose products hold cos((i−j)θ) − sin((i+j)θ)."
    per_head: bool = False
    "Whether θ_m = base^{−m/K}, m = 0 … K − 1, the same in each of the mixer's heads of width K, as published."

    def check(self) -> None:
        check_base(self, self.base)

    def build(self, site: Site) -> nn.Module:
        return CosinePosition(self, site.head_width if self.per_head else site.width, site.width)


class CosinePosition(nn.Module):
    def __init__(self, part: Cosine, period: int, width: int):
        super().__init__()
        self.part, self.period, self.width = part, period, width

    def forward(self, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
        m = torch.arange(self.width, dtype=torch.float64, device=x_bld.device) % self.period
        theta_d = (self.part.base ** (-m / self.period)).to(torch.promote_types(x_bld.dtype, torch.float32))
        angles_bld = positions_bl.unsqueeze(-1) * theta_d
        wave_bld = angles_bld.cos() if self.part.wave == "cos" else angles_bld.cos() - angles_bld.sin()
        return x_bld * wave_bld.to(x_bld.dtype)
