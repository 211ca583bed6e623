"""Feature maps made of random directions: their products are softmax's or another kernel on average."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from formers.mixers.feature_maps import FeatureMap
from formers.mixers.random_projections import RandomProjections
from formers.ops import exp_features, without_autocast

_REACH = 60.0
"""The largest exponent: M·L features of e⁶⁰ still sum up in float32."""


class Favor(FeatureMap):
    """φ(q)·φ(k) = exp(q·k/√K) on average over random directions w ~ N(0, I). O(L·M·K). The features of Performer.

    With x = input·K^{−1/4}: positive: φ(x) = exp(w·x − |x|²/2)/√M; hyperbolic: half of the directions, each as w and as
    −w; trigonometric: exp(|x|²/2)·[sin w·x, cos w·x]/√(M/2), not positive and so unstable where softmax is small; relu:
    max(w·x, 0)/√M + 0.001, a kernel of its own.

    Queries are known up to a factor per row, which the normaliser divides out: the largest exponent of a row is 0. Keys
    share one constant, an upper bound that depends on w alone (0 unless K exceeds about 100), so that no key's features
    depend on another token; a key so long (|x| > 13) that all its features underflow is not seen. Computed in float32.
    Source: Choromanski et al. 2021, arXiv:2009.14794.
    """

    needs_normalizer = True
    features: int | None = None
    "M; about K·ln K unless given."
    kind: Literal["positive", "hyperbolic", "trigonometric", "relu"] = "positive"
    "Which features: see above."
    orthogonal: bool = True
    "Whether directions are orthogonal within each block of K, for a smaller error, or independent."
    redraw: int | None = 1000
    "Training steps between draws of new directions; None keeps the first. Never in eval mode."

    def check(self) -> None:
        _check_count("favor", self.features, halves=self.kind in ("hyperbolic", "trigonometric"))
        _check_redraw("favor", self.redraw)

    def build(self, width: int) -> nn.Module:
        return FavorFeatures(self, width)

    def count(self, width: int) -> int:
        return self.features if self.features is not None else 2 * max(1, round(width * math.log(width) / 2))

    def floor(self) -> float:
        return 1e-6 if self.kind == "trigonometric" else super().floor()


class RandomFourier(FeatureMap):
    """φ(x) = [sin w·x̂, cos w·x̂]/√(M/2), x̂ = x/|x|, w ~ N(0, I/σ²): φ(q)·φ(k) = exp((q̂·k̂ − 1)/σ²) on average.

    O(L·M·K).

    The features of RFA: a softmax over cosines with temperature σ². Their products may come near zero or below it,
    which the kernel never does: it is at least exp(−2/σ²), and so denominators of a smaller size count as that, with
    their sign. (The paper writes w ~ N(0, σ²I) for this kernel.)
    Source: Peng et al. 2021, arXiv:2103.02143; Rahimi & Recht 2007.
    """

    features: int | None = None
    "M, sines and cosines together; 2·K unless given."
    sigma: float = 1.0
    "σ: small ones sharpen."
    orthogonal: bool = False
    "Whether directions are orthogonal within each block of K, for a smaller error, or independent as in the paper."
    redraw: int | None = 1
    "Training steps between draws of new directions; None keeps the first. Never in eval mode."

    def check(self) -> None:
        _check_count("random_fourier", self.features, halves=True)
        _check_redraw("random_fourier", self.redraw)
        _check_sigma("random_fourier", self.sigma)

    def build(self, width: int) -> nn.Module:
        directions = RandomProjections(self.count(width) // 2, width, orthogonal=self.orthogonal, redraw=self.redraw)
        return SphereFeatures(directions, self.sigma, _sine_cosine)

    def count(self, width: int) -> int:
        return self.features if self.features is not None else 2 * width

    def floor(self) -> float:
        return max(math.exp(-2 / self.sigma**2), super().floor())


class ArcCosine(FeatureMap):
    """φ(x) = max(w·x̂, 0)·√(2/M), x̂ = x/|x|, w ~ N(0, I): φ(q)·φ(k) = (sin θ + (π − θ) cos θ)/π on average.

    θ is the angle between them. The arc-cosine kernel of first order, never negative. O(L·M·K).
    Source: Cho & Saul 2009; Peng et al. 2021 (RFA), arXiv:2103.02143.
    """

    features: int | None = None
    "M; 2·K unless given."
    orthogonal: bool = False
    "Whether directions are orthogonal within each block of K, for a smaller error, or independent as in the paper."
    redraw: int | None = 1
    "Training steps between draws of new directions; None keeps the first. Never in eval mode."

    def check(self) -> None:
        _check_count("arc_cosine", self.features, halves=False)
        _check_redraw("arc_cosine", self.redraw)

    def build(self, width: int) -> nn.Module:
        directions = RandomProjections(self.count(width), width, orthogonal=self.orthogonal, redraw=self.redraw)
        return SphereFeatures(directions, 1.0, _scaled_relu)

    def count(self, width: int) -> int:
        return self.features if self.features is not None else 2 * width


class FavorFeatures(nn.Module):
    def __init__(self, part: Favor, width: int):
        super().__init__()
        count = part.count(width)
        halves = part.kind in ("hyperbolic", "trigonometric")
        self.kind, self.count, self.width = part.kind, count, width
        self.directions = RandomProjections(
            count // 2 if halves else count, width, orthogonal=part.orthogonal, redraw=part.redraw
        )

    def forward(self, x_bhlk: Tensor, *, query: bool = False) -> Tensor:
        x = x_bhlk.to(torch.promote_types(x_bhlk.dtype, torch.float32))
        if self.kind in ("positive", "hyperbolic"):
            return self.exponentials(x, query)
        x = x * self.width**-0.25
        with without_autocast(x.device):
            p = x @ self.directions(x, first=query).mT
        if self.kind == "relu":
            return F.relu(p) * self.count**-0.5 + 1e-3
        if query:
            return _sine_cosine(p)
        return _sine_cosine(p) * (x.square().sum(-1, keepdim=True) / 2).clamp(max=_REACH).exp()

    def exponentials(self, x: Tensor, query: bool) -> Tensor:
        """Return exp(±w·x − |x|²/2)/√M for keys, exp(±w·x) over the largest of a row for queries. x is unscaled."""
        w = self.directions(x, first=query)
        w = torch.cat([w, -w]) if self.kind == "hyperbolic" else w
        scale = self.width**-0.25  # of x; there are fewer directions
        if query:
            return exp_features(x, w * scale)
        shift = x.square().sum(-1) * (scale**2 / 2) + (self.bound(w) + math.log(self.count) / 2)
        return exp_features(x, w * scale, shift)

    def bound(self, w_mk: Tensor) -> Tensor:
        """Return what is subtracted from keys' exponents, at most |w|²/2: w·x − |x|²/2 = |w|²/2 − |w − x|²/2."""
        return (w_mk.square().sum(1).max() / 2 - _REACH).clamp(min=0)


class SphereFeatures(nn.Module):
    """Features of directions x/|x|, in float32."""

    def __init__(self, directions: RandomProjections, sigma: float, shape: object):
        super().__init__()
        self.directions, self.sigma, self.shape = directions, sigma, shape

    def forward(self, x_bhlk: Tensor, *, query: bool = False) -> Tensor:
        x = x_bhlk.to(torch.promote_types(x_bhlk.dtype, torch.float32))
        unit = x / (x.square().sum(-1, keepdim=True) + 1e-12).sqrt()  # smooth at zero, where F.normalize is not
        assert callable(self.shape)
        w = self.directions(unit, first=query)
        with without_autocast(x.device):
            return self.shape(unit @ w.mT / self.sigma)


def _sine_cosine(p: Tensor) -> Tensor:
    """Return [sin p, cos p]/√count."""
    return torch.cat([p.sin(), p.cos()], -1) * p.shape[-1] ** -0.5


def _scaled_relu(p: Tensor) -> Tensor:
    """Return max(p, 0)·√(2/count)."""
    return F.relu(p) * (2 / p.shape[-1]) ** 0.5


def _check_count(name: str, features: int | None, *, halves: bool) -> None:
    if features is not None and (features < 1 or (halves and features % 2)):
        even = ", even since they come in pairs" if halves else ""
        raise ValueError(f"{name}: features must be positive{even}, but {features} was given")


def _check_redraw(name: str, redraw: int | None) -> None:
    if redraw is not None and redraw < 1:
        raise ValueError(f"{name}: redraw must be at least 1 step, but {redraw} was given; None never draws anew")


def _check_sigma(name: str, sigma: float) -> None:
    if sigma <= 0:
        raise ValueError(f"{name}: sigma must be positive, but {sigma} was given")
