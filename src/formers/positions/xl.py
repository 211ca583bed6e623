"""Relative positions of Transformer-XL."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from formers.ops import DistanceTerms, can_read
from formers.part import Site, is_plain_linear
from formers.positions.distances import Distances
from formers.positions.position import Position
from formers.positions.relative import RelativePosition, RelativeScores, TableScores, scaled, scaled_products
from formers.positions.sinusoidal import frequencies


class Xl(Position):
    """Scores with a term for the distance that depends on the query, and biases for content and for distance.

    s_ij = (q_i·k_j + q_i·W_R r_{i−j} + u·k_j + v·W_R r_{i−j})/√K: r sinusoidal of width D, the sines before the
    cosines, u and v learned per head, W_R ∈ R^{D×D} per layer. Distances count, so a memory of earlier segments may be
    longer than it was in training. One more product of L × (L + S) numbers a head; shifted by strides, with no L²
    gather. Where positions cannot be read, as in a trace, or lie far apart, that product takes H times as long, unless
    they are clamped; so it does for fewer than K queries, and W_R r of every distance is not made, which takes longer.
    Source: Dai et al. 2019, arXiv:1901.02860.
    """

    acts_on = "scores"
    clamp: int | None = None
    "Distances beyond it count as this one; None for no limit. The published evaluation clamps below its memory."

    def check(self) -> None:
        if self.clamp is not None and self.clamp < 1:
            raise ValueError(f"xl: clamp must be at least 1, but {self.clamp} was given")

    def build(self, site: Site) -> nn.Module:
        if site.width % 2:
            raise ValueError(f"{self} has as many sines as cosines, but the model is {site.width} wide; make it even")
        return XlPosition(self, site)


class XlPosition(RelativePosition):
    def __init__(self, part: Xl, site: Site):
        super().__init__()
        self.clamp, self.heads, self.causal = part.clamp, site.heads, site.causal
        self.r_proj = nn.Linear(site.width, site.heads * site.head_width, bias=False)
        self.content_hk = nn.Parameter(torch.empty(site.heads, site.head_width))
        self.distance_hk = nn.Parameter(torch.empty(site.heads, site.head_width))
        self.init_weights(0.02)

    def forward(self, q_positions_bl: Tensor, k_positions_bs: Tensor) -> RelativeScores:
        biases = _Biases(self.content_hk, self.distance_hk)
        if self.clamp is None:
            # W_R r of every distance costs D² each; of few queries, W_R is on their side, at H times their products
            few = can_read(q_positions_bl) and q_positions_bl.shape[1] * self.heads < self.r_proj.in_features
            distances = None if few else Distances.whole(q_positions_bl, k_positions_bs, causal=self.causal)
        else:
            distances = Distances.clipped(q_positions_bl, k_positions_bs, self.clamp)
        if distances is None:
            r_hkd = self._matrix(q_positions_bl.device).unflatten(0, (self.heads, -1))
            first_b1 = q_positions_bl[:, :1]  # far from 0, waves of positions are less exact than of distances
            return _FactoredScores(q_positions_bl - first_b1, k_positions_bs - first_b1, r_hkd, biases)
        r_nd = torch.cat(_waves(-distances.all(), self.r_proj.in_features, self.content_hk.dtype), 1)
        return _ProjectedWaves(distances, self.r_proj(r_nd).unflatten(1, (self.heads, -1)).transpose(0, 1), biases)

    def _matrix(self, device: torch.device) -> Tensor:
        """Return W_R; where the projection is more than that, as with an adapter or offloaded, what it does to it."""
        if is_plain_linear(self.r_proj):
            return self.r_proj.weight
        made: Tensor = self.r_proj(torch.eye(self.r_proj.in_features, dtype=self.content_hk.dtype, device=device))
        return made.T

    def init_weights(self, std: float) -> None:
        """Draw u and v from N(0, std²), as the published code does."""
        for bias_hk in (self.content_hk, self.distance_hk):
            nn.init.normal_(bias_hk, std=std)


class _Biases(NamedTuple):
    """u and v, (H, K) each."""

    content_hk: Tensor
    distance_hk: Tensor

    def of_keys(self, k_bgsk: Tensor) -> Tensor:
        """Return u·k_j/√K, (B, H, 1, s)."""
        u_ghk = self.content_hk.to(k_bgsk.dtype).unflatten(0, (k_bgsk.shape[1], -1))
        return (u_ghk @ k_bgsk.mT).flatten(1, 2).unsqueeze(2) * k_bgsk.shape[3] ** -0.5

    def on_queries(self, q_bhlk: Tensor) -> Tensor:
        """Return q + v."""
        return q_bhlk + self.distance_hk.to(q_bhlk.dtype).unsqueeze(1)


@dataclass(frozen=True, eq=False)
class _ProjectedWaves(TableScores):
    """W_R r_{i−j} of every distance j − i, (H, n, K), and the biases."""

    biases: _Biases

    def terms(self, q_bhlk: Tensor, table_hn: Tensor) -> Tensor:
        return scaled_products(self.biases.on_queries(q_bhlk), table_hn)

    def bias(self, q_bhlk: Tensor, k_bgsk: Tensor, start: int) -> Tensor:
        return super().bias(q_bhlk, k_bgsk, start) + self.biases.of_keys(k_bgsk)

    def queries(self, q_bhlk: Tensor) -> Tensor:
        return q_bhlk + self.biases.content_hk.to(q_bhlk.dtype).unsqueeze(1)

    def scores(self, s_bhls: Tensor, q_bhlk: Tensor, k_bgsk: Tensor, start: int) -> Tensor:
        return s_bhls.add_(super().bias(q_bhlk, k_bgsk, start))  # u is in the queries: no pass over all pairs for it

    @property
    def is_pairwise(self) -> bool:
        return False  # u·k is a term of the key, too

    def as_terms(self, q_bhlk: Tensor, first: int) -> DistanceTerms:
        return DistanceTerms(first, self.distances.low, scaled(self.biases.on_queries(q_bhlk)), self.table_hn)

    def depends_on(self, q_bhlk: Tensor, k_bgsk: Tensor) -> tuple[Tensor, ...]:
        return (q_bhlk, k_bgsk, self.table_hn, *self.biases)


@dataclass(frozen=True, eq=False)
class _FactoredScores(RelativeScores):
    """The same scores without a table: sin((i − j)θ) and cos((i − j)θ) from waves of i and of j.

    Takes positions as they are, at H times the price: products are of width D and not K.
    """

    q_bl: Tensor
    k_bs: Tensor
    r_hkd: Tensor
    biases: _Biases

    def at(self, q_positions_bl: Tensor, k_positions_bs: Tensor) -> _FactoredScores:
        return replace(self, q_bl=q_positions_bl, k_bs=k_positions_bs)

    def bias(self, q_bhlk: Tensor, k_bgsk: Tensor, start: int) -> Tensor:
        width, dtype, stop = self.r_hkd.shape[2], q_bhlk.dtype, start + q_bhlk.shape[2]
        of_sin, of_cos = (self.biases.on_queries(q_bhlk) @ self.r_hkd.to(dtype)).chunk(2, 3)
        q_sin, q_cos = (wave.unsqueeze(1) for wave in _waves(self.q_bl[:, start:stop], width, dtype))
        k_sin, k_cos = (wave.unsqueeze(1) for wave in _waves(self.k_bs[:, : k_bgsk.shape[2]], width, dtype))
        q_bhld = torch.cat([of_cos * q_sin - of_sin * q_cos, of_sin * q_sin + of_cos * q_cos], 3)
        terms_bhls = q_bhld @ torch.cat([k_sin, k_cos], 3).mT * q_bhlk.shape[3] ** -0.5
        return terms_bhls + self.biases.of_keys(k_bgsk)

    def depends_on(self, q_bhlk: Tensor, k_bgsk: Tensor) -> tuple[Tensor, ...]:
        return (q_bhlk, k_bgsk, self.r_hkd, *self.biases)


def _waves(x: Tensor, width: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the sines and the cosines of x·θ_m, (…, D/2) each, made in float32 or wider."""
    theta_m = frequencies(width, 10000.0, x.device).to(torch.promote_types(dtype, torch.float32))
    angles = x.unsqueeze(-1) * theta_m
    return angles.sin().to(dtype), angles.cos().to(dtype)
