"""Performer's feature maps: random features whose products are the softmax kernel on average."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from formers.mixers.feature_maps import FeatureMap, factor_dtype
from formers.mixers.random_features import check_count, check_redraw
from formers.mixers.random_projections import RandomProjections
from formers.ops import accumulation_dtype, exp_features, largest_exponents, without_autocast

_LARGEST = 60.0
"""The largest |x|²/2 of trigonometric keys: e⁶⁰ times M·L still sums up in float32."""


class Favor(FeatureMap):
    """φ(q)·φ(k) = exp(q·k/√K) on average over random directions w ~ N(0, I). O(L·M·K). The features of Performer.

    With x = input·K^{−1/4}: positive: φ(x) = exp(w·x − |x|²/2)/√M; hyperbolic: half of the directions, each as w and as
    −w; trigonometric: exp(|x|²/2)·[sin w·x, cos w·x]/√(M/2), not positive and so unstable where softmax is small; relu:
    max(w·x, 0)/√M + 0.001, a kernel of its own.

    Queries are known up to a factor per token, which the normaliser divides out: the largest exponent of each is 0. The
    exponents of keys are lowered by the largest among them, up to each token when causal (see `ScaledLinearMixer`),
    where the published code takes the largest of all. Computed in float32. Directions are as long as Gaussian vectors,
    which makes the mean exact and is the published code's default; with `regularize` all have the length √K, its
    alternative (`scaling=1`), whose kernel is below softmax's for large q and k. Source: Choromanski et al. 2021,
    arXiv:2009.14794.
    """

    needs_normalizer = True
    added = {"regularize": False}  # noqa: RUF012
    starts = dict.fromkeys(("orthogonal", "regularize"), ("directions.w_mk",))
    features: int | None = None
    "M; K·⌊ln K⌋ unless given, whole blocks of K orthogonal directions: 256 for K = 64."
    kind: Literal["positive", "hyperbolic", "trigonometric", "relu"] = "positive"
    "Which features: see above."
    orthogonal: bool = True
    "Whether directions are orthogonal within each block of K, for a smaller error, or independent."
    redraw: int | None = 1000
    "Training steps between draws of new directions; None keeps the first. Never in eval mode."
    regularize: bool = False
    "Whether all directions are √K long, which makes the kernel the paper's regularised softmax, or as Gaussian ones."

    def check(self) -> None:
        check_count("favor", self.features, halves=self.kind in ("hyperbolic", "trigonometric"))
        check_redraw("favor", self.redraw)

    def build(self, width: int, heads: int = 1) -> nn.Module:
        if not self.exponential:
            return FavorFeatures(self.kind, self.projections(width, halves=self.kind == "trigonometric"))
        mirrored = self.kind == "hyperbolic"
        return ExponentialFavorFeatures(self.projections(width, halves=mirrored), mirrored=mirrored)

    def projections(self, width: int, *, halves: bool) -> RandomProjections:
        """Return the directions of the features; with `halves`, each makes two of them."""
        count = self.count(width) // 2 if halves else self.count(width)
        return RandomProjections(
            count, width, orthogonal=self.orthogonal, redraw=self.redraw, one_length=self.regularize
        )

    def count(self, width: int) -> int:
        if self.features is not None:
            return self.features
        return max(2, width * max(1, int(math.log(width))) // 2 * 2)

    @property
    def exponential(self) -> bool:
        return self.kind in ("positive", "hyperbolic")

    def floor(self) -> float:
        return 1e-6 if self.kind == "trigonometric" else 1e-30 if self.exponential else super().floor()


class ExponentialFavorFeatures(nn.Module):
    """exp(w·x − |x|²/2 − shift)/√M for keys, exp(w·x − max_m w_m·x) for queries, x = input·K^{−1/4}; in float32.

    With `mirrored`, every direction stands for itself and its opposite.
    """

    def __init__(self, directions: RandomProjections, *, mirrored: bool):
        super().__init__()
        self.directions, self.mirrored = directions, mirrored

    def forward(self, x_bhlk: Tensor, *, query: bool = False, shift_bhl: Tensor | None = None) -> Tensor:
        x, w = self._exact(x_bhlk), self._scaled_directions(x_bhlk, first=query)
        if query:
            return exp_features(x, w, dtype=factor_dtype(x_bhlk))
        lowered = self._half_squares(x) + math.log(len(w)) / 2
        shift_bhl = lowered if shift_bhl is None else lowered + shift_bhl
        return exp_features(x, w, shift_bhl, dtype=factor_dtype(x_bhlk))

    def largest_exponents(self, k_bhlk: Tensor) -> Tensor:
        """Return max_m w_m·x − |x|²/2 of each key, (B, H, L), without a gradient."""
        k = self._exact(k_bhlk.detach())
        return largest_exponents(k, self._scaled_directions(k_bhlk, first=False)) - self._half_squares(k)

    def _exact(self, x_bhlk: Tensor) -> Tensor:
        return x_bhlk.to(accumulation_dtype(x_bhlk.dtype))

    def _scaled_directions(self, x_bhlk: Tensor, *, first: bool) -> Tensor:
        """Return w·K^{−1/4}: there are fewer directions to scale than tokens."""
        w_mk = self.directions(self._exact(x_bhlk), first=first)
        w_mk = torch.cat([w_mk, -w_mk]) if self.mirrored else w_mk
        return w_mk * x_bhlk.shape[3] ** -0.25

    def _half_squares(self, x: Tensor) -> Tensor:
        return x.square().sum(-1) * (x.shape[3] ** -0.5 / 2)


class FavorFeatures(nn.Module):
    """Trigonometric features, or those of the relu kernel; in float32."""

    def __init__(self, kind: str, directions: RandomProjections):
        super().__init__()
        self.kind, self.directions = kind, directions

    def forward(self, x_bhlk: Tensor, *, query: bool = False) -> Tensor:
        x = x_bhlk.to(accumulation_dtype(x_bhlk.dtype)) * x_bhlk.shape[3] ** -0.25
        with without_autocast(x.device):
            p = x @ self.directions(x, first=query).mT
        if self.kind == "relu":
            return F.relu(p) * p.shape[-1] ** -0.5 + 1e-3
        phi = torch.cat([p.sin(), p.cos()], -1) * p.shape[-1] ** -0.5
        return phi if query else phi * (x.square().sum(-1, keepdim=True) / 2).clamp(max=_LARGEST).exp()
