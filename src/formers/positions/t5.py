"""Bucketed relative biases of T5."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from formers.part import Site
from formers.positions.distances import Distances
from formers.positions.position import Position
from formers.positions.relative import RelativePosition, RelativeScores, TableScores


class T5(Position):
    """A learned bias on the scores, one per head and bucket of the distance j − i, the same table in all layers.

    s_ij + b_{h,bucket(j−i)}. Half of the buckets are for one distance each, the others grow logarithmically up to
    `reach`, and all further distances share the last one. Bidirectional, half of the buckets are for keys ahead. Works
    beyond the trained length. Scores are scaled by 1/√K as everywhere here; T5's own are not, and its weights start
    smaller instead. Source: Raffel et al. 2020, arXiv:1910.10683.
    """

    acts_on = "scores"
    buckets: int = 32
    "How many there are."
    reach: int = 128
    "The distance from which on all share a bucket."

    def check(self) -> None:
        if self.buckets < 4 or self.buckets % 4 or self.reach <= self.buckets // 2:
            raise ValueError(
                f"{self}: buckets must be a multiple of 4, and reach more than half of them, the distances that have "
                "a bucket each in a causal model"
            )

    def build(self, site: Site) -> nn.Module:
        return T5Position(self, site)


class T5Position(RelativePosition):
    def __init__(self, part: T5, site: Site):
        super().__init__()
        self.buckets, self.reach, self.causal = part.buckets, part.reach, site.causal
        self.table = nn.Embedding(part.buckets, site.heads)
        self.share("table", among=(part, site.heads, site.causal))

    def forward(self, q_positions_bl: Tensor, k_positions_bs: Tensor) -> RelativeScores:
        distances = Distances.clipped(q_positions_bl, k_positions_bs, self.reach)
        return TableScores(distances, self.table(self.bucket(distances.all())).T.to(q_positions_bl.device))

    def bucket(self, distance_n: Tensor) -> Tensor:
        """Return the bucket of each distance j − i; in a causal model, keys ahead share that of distance 0."""
        count = self.buckets if self.causal else self.buckets // 2
        exact = count // 2
        far_n = (-distance_n).clamp(min=0) if self.causal else distance_n.abs()
        grown_n = (far_n.clamp(min=1).double() / exact).log() / math.log(self.reach / exact) * (count - exact)
        bucket_n = torch.where(far_n < exact, far_n, (exact + grown_n.long()).clamp(max=count - 1))
        return bucket_n if self.causal else bucket_n + count * (distance_n > 0)
