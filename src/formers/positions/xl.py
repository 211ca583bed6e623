"""Relative positions of Transformer-XL."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from formers.part import Site, weights_of
from formers.positions.distances import hidden_from_host
from formers.positions.position import Position
from formers.positions.relative import RelativePosition, RelativeScores
from formers.positions.sinusoidal import frequencies


class Xl(Position):
    """Scores with a term for the distance that depends on the query, and biases for content and for distance.

    s_ij = (q_i·k_j + q_i·W_R r_{i−j} + u·k_j + v·W_R r_{i−j})/√K: r sinusoidal of width D, the sines before the
    cosines, u and v learned per head, W_R ∈ R^{D×D} per layer. Distances count, so a memory of earlier segments may be
    longer than it was in training. One more product of L × (L + S) numbers a head; shifted by strides, with no L²
    gather. Source: Dai et al. 2019, arXiv:1901.02860.
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
        self.reach, self.heads = part.clamp, site.heads
        self.r_proj = nn.Linear(site.width, site.heads * site.head_width, bias=False)
        self.content_hk = nn.Parameter(torch.empty(site.heads, site.head_width))
        self.distance_hk = nn.Parameter(torch.empty(site.heads, site.head_width))
        self.init_weights(0.02)

    def forward(self, q_positions_bl: Tensor, k_positions_bs: Tensor) -> RelativeScores:
        if self.reach is None and hidden_from_host(q_positions_bl):  # how far distances go is not known
            return _FactoredScores(self, q_positions_bl, k_positions_bs)
        return super().forward(q_positions_bl, k_positions_bs)

    def embed(self, distance_n: Tensor) -> Tensor:
        """Return W_R r_{i−j} of every head, (H, n, K); a distance here is j − i."""
        sin_nm, cos_nm = self.waves(-distance_n)
        r_nd = torch.cat([sin_nm, cos_nm], 1)
        return self.r_proj(r_nd).unflatten(1, (self.heads, -1)).transpose(0, 1)

    def terms(self, q_bhlk: Tensor, embedded_hn: Tensor) -> Tensor:
        return self.biased(q_bhlk) @ embedded_hn.mT.to(q_bhlk.dtype) * q_bhlk.shape[3] ** -0.5

    def terms_of_keys(self, k_bgsk: Tensor) -> Tensor:
        """Return u·k_j/√K, (B, H, 1, s)."""
        u_ghk = self.content_hk.to(k_bgsk.dtype).unflatten(0, (k_bgsk.shape[1], -1))
        return (u_ghk @ k_bgsk.mT).flatten(1, 2).unsqueeze(2) * k_bgsk.shape[3] ** -0.5

    def biased(self, q_bhlk: Tensor) -> Tensor:
        """Return q + v."""
        return q_bhlk + self.distance_hk.to(q_bhlk.dtype).unsqueeze(1)

    def waves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sines and the cosines of x·θ_m, (…, D/2) each, in float32 or wider and then in the weights'."""
        dtype = self.r_proj.weight.dtype
        theta_m = frequencies(self.r_proj.in_features, 10000.0, x.device)
        angles = x.unsqueeze(-1) * theta_m.to(torch.promote_types(dtype, torch.float32))
        return angles.sin().to(dtype), angles.cos().to(dtype)

    def init_weights(self, std: float) -> None:
        """Draw u and v from N(0, std²), as the published code does."""
        for bias_hk in (self.content_hk, self.distance_hk):
            nn.init.normal_(bias_hk, std=std)


class _FactoredScores(RelativeScores):
    """The same scores without a table: sin((i − j)θ) and cos((i − j)θ) from waves of i and of j.

    Takes positions as they are, at H times the price: products are of width D and not K.
    """

    def __init__(self, position: XlPosition, q_bl: Tensor, k_bs: Tensor):
        self.position, self.q_bl, self.k_bs, self.depends_on = position, q_bl, k_bs, weights_of(position)

    def at(self, q_positions_bl: Tensor, k_positions_bs: Tensor) -> _FactoredScores:
        return _FactoredScores(self.position, q_positions_bl, k_positions_bs)

    def bias(self, q_bhlk: Tensor, k_bgsk: Tensor, start: int) -> Tensor:
        position, stop = self.position, start + q_bhlk.shape[2]
        r_hkd = position.r_proj.weight.unflatten(0, (position.heads, -1)).to(q_bhlk.dtype)
        of_sin, of_cos = (position.biased(q_bhlk) @ r_hkd).chunk(2, 3)
        q_sin, q_cos = (w.to(q_bhlk.dtype).unsqueeze(1) for w in position.waves(self.q_bl[:, start:stop]))
        k_sin, k_cos = (w.to(q_bhlk.dtype).unsqueeze(1) for w in position.waves(self.k_bs[:, : k_bgsk.shape[2]]))
        q_bhld = torch.cat([of_cos * q_sin - of_sin * q_cos, of_sin * q_sin + of_cos * q_cos], 3)
        terms_bhls = q_bhld @ torch.cat([k_sin, k_cos], 3).mT * q_bhlk.shape[3] ** -0.5
        return terms_bhls + position.terms_of_keys(k_bgsk)
