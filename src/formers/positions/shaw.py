"""Shaw's relative positions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from formers.ops import DistanceTerms
from formers.part import Site
from formers.part.site import Place
from formers.positions.distances import Distances
from formers.positions.position import Position
from formers.positions.relative import RelativePosition, RelativeScores, TableScores, scaled, scaled_products


class Shaw(Position):
    """A learned vector for each distance up to a clip, added to the keys and, for what is summed, to the values.

    s_ij = q_i·(k_j + P^K_ℓ)/√K and y_i = Σ_j a_ij (v_j + P^V_ℓ), ℓ = j − i clipped to ± `clip`; 2·clip + 1 vectors of
    width K each, the same for all heads of a layer. Terms are made for each label and spread over the pairs, so there
    is no L²·K tensor: O(L²) more time and O(L·clip) more memory than without. Works beyond the trained length: far
    distances share a label. Source: Shaw et al. 2018, arXiv:1803.02155.
    """

    clip: int = 16
    "The largest distance that has vectors of its own; further ones share it."
    values: bool = True
    """Whether the values get vectors, too. Attention must form its weights for that, which a sparse pattern does not:
    without them, every mixer that takes a position on its scores will do. The paper found the keys' to be enough."""

    @property
    def acts_on(self) -> Place:  # type: ignore[override]
        """The scores; with vectors for the values, the weights."""
        return "weights" if self.values else "scores"

    def check(self) -> None:
        if self.clip < 1:
            raise ValueError(f"shaw: clip must be at least 1, but {self.clip} was given")

    def build(self, site: Site) -> nn.Module:
        return ShawPosition(self, site)


class ShawPosition(RelativePosition):
    def __init__(self, part: Shaw, site: Site):
        super().__init__()
        self.clip = part.clip
        self.keys_nk = nn.Parameter(torch.empty(2 * part.clip + 1, site.head_width))
        self.values_nk = nn.Parameter(torch.empty_like(self.keys_nk)) if part.values else None
        self.init_weights(0.02)

    def forward(self, q_positions_bl: Tensor, k_positions_bs: Tensor) -> RelativeScores:
        distances = Distances.clipped(q_positions_bl, k_positions_bs, self.clip)
        label_n = distances.all() + self.clip
        values_nk = None if self.values_nk is None else self.values_nk[label_n]
        return _VectorsOfDistances(distances, self.keys_nk[label_n].unsqueeze(0), values_nk)

    def init_weights(self, std: float) -> None:
        """Draw all vectors from N(0, std²)."""
        for table_nk in self.parameters():
            nn.init.normal_(table_nk, std=std)


@dataclass(frozen=True, eq=False)
class _VectorsOfDistances(TableScores):
    """Vectors of the distances for keys, (1, n, K), and for values, (n, V), or None."""

    values_nv: Tensor | None

    def terms(self, q_bhlk: Tensor, table_hn: Tensor) -> Tensor:
        return scaled_products(q_bhlk, table_hn)

    def as_terms(self, q_bhlk: Tensor, first: int) -> DistanceTerms:
        values_hnv = None if self.values_nv is None else self.values_nv.unsqueeze(0)
        return DistanceTerms(first, self.distances.low, scaled(q_bhlk), self.table_hn, values_hnv=values_hnv)

    def outputs(self, w_bhls: Tensor, start: int) -> Tensor | None:
        if self.values_nv is None:
            return None
        return self.distances.collect(w_bhls, start) @ self.values_nv.to(w_bhls.dtype)
