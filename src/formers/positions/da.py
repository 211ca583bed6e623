"""Distance-aware attention of the DA-Transformer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from formers.ops import Relation
from formers.part import Site
from formers.positions.position import Position
from formers.positions.relative import RelationalPosition


class Da(Position):
    """Non-negative scores, scaled by a learned function of the distance.

    softmax(ReLU(QKᵀ) ⊙ f(R)/√K) V with R = |i − j| and f(R) = (1 + exp β)/(1 + exp(β − α·R)), α and β learned per head:
    f(0) = 1, and far scores grow towards 1 + exp β where α > 0 or fade where α < 0. Attention forms its weights for it.
    Works beyond the trained length. Source: Wu et al. 2021 (DA-Transformer), arXiv:2010.06925.
    """

    acts_on = "weights"

    def build(self, site: Site) -> nn.Module:
        return DaPosition(site.heads)


class DaPosition(RelationalPosition):
    def __init__(self, heads: int):
        super().__init__()
        self.alpha_h = nn.Parameter(torch.empty(heads))
        self.beta_h = nn.Parameter(torch.empty(heads))
        self.init_weights(0.02)

    def forward(self, q_positions_bl: Tensor, k_positions_bs: Tensor) -> Relation:
        alpha_h11, beta_h11 = self.alpha_h.view(-1, 1, 1), self.beta_h.view(-1, 1, 1)
        return _ScaledScores(q_positions_bl, k_positions_bs, alpha_h11, beta_h11)

    def init_weights(self, std: float) -> None:
        """Draw α from N(0, std²), so that some heads look far and some near; β starts at 0."""
        nn.init.normal_(self.alpha_h, std=std)
        nn.init.zeros_(self.beta_h)


@dataclass(frozen=True, eq=False)
class _ScaledScores(Relation):
    q_bl: Tensor
    k_bs: Tensor
    alpha_h11: Tensor
    beta_h11: Tensor

    def scores(self, s_bhls: Tensor, q_bhlk: Tensor, k_bgsk: Tensor, start: int) -> Tensor:
        q_bl1, k_b1s = self.q_bl[:, start : start + s_bhls.shape[2], None], self.k_bs[:, None, : s_bhls.shape[3]]
        distance_b1ls = (k_b1s - q_bl1).abs().unsqueeze(1)
        # f(R) = (1 + exp β)·sigmoid(α·R − β), which does not overflow
        f_bhls = softplus(self.beta_h11).exp() * (self.alpha_h11 * distance_b1ls - self.beta_h11).sigmoid()
        return s_bhls.relu() * f_bhls.to(s_bhls.dtype)
