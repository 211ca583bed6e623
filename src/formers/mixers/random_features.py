"""Feature maps made of random directions: their products are softmax's or another kernel on average."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F

from formers.mixers.feature_maps import FeatureMap, factor_dtype
from formers.mixers.random_projections import RandomProjections
from formers.ops import accumulation_dtype, fourier_features, without_autocast

_LARGEST_SIGMA = 1e18
"""σ² and 1/σ² are numbers of float32 and bfloat16 up to here."""


class RandomFourier(FeatureMap):
    """φ(x) = [sin w·x̂, cos w·x̂]/√(M/2), x̂ = x/|x|, w ~ N(0, I/σ²): φ(q)·φ(k) = exp((q̂·k̂ − 1)/σ²) on average.

    O(L·M·K).

    The features of RFA: a softmax over cosines with temperature σ². Their products may come near zero or below it,
    which the kernel never does: it is at least exp(−2/σ²), and so denominators of a smaller size count as that, with
    their sign. (The paper writes w ~ N(0, σ²I) for this kernel.)
    Source: Peng et al. 2021, arXiv:2103.02143; Rahimi & Recht 2007.
    """

    starts = {"orthogonal": ("directions.w_mk",)}  # noqa: RUF012
    features: int | None = None
    "M, sines and cosines together; 2·K unless given."
    sigma: float = 1.0
    "σ: small ones sharpen."
    orthogonal: bool = False
    "Whether directions are orthogonal within each block of K, for a smaller error, or independent as in the paper."
    redraw: int | None = 1
    "Training steps between draws of new directions; None keeps the first. Never in eval mode."

    def check(self) -> None:
        check_count("random_fourier", self.features, halves=True)
        check_redraw("random_fourier", self.redraw)
        _check_sigma("random_fourier", self.sigma)

    def build(self, width: int, heads: int = 1) -> nn.Module:
        directions = RandomProjections(self.count(width) // 2, width, orthogonal=self.orthogonal, redraw=self.redraw)
        return FourierFeatures(directions, self.sigma)

    def count(self, width: int) -> int:
        return self.features if self.features is not None else 2 * width

    def floor(self) -> float:
        return max(math.exp(-2 / self.sigma**2), super().floor())


class ArcCosine(FeatureMap):
    """φ(x) = max(w·x̂, 0)·√(2/M), x̂ = x/|x|, w ~ N(0, I): φ(q)·φ(k) = (sin θ + (π − θ) cos θ)/π on average.

    θ is the angle between them. The arc-cosine kernel of first order, never negative. O(L·M·K).
    Source: Cho & Saul 2009; Peng et al. 2021 (RFA), arXiv:2103.02143.
    """

    starts = {"orthogonal": ("directions.w_mk",)}  # noqa: RUF012
    features: int | None = None
    "M; 2·K unless given."
    orthogonal: bool = False
    "Whether directions are orthogonal within each block of K, for a smaller error, or independent as in the paper."
    redraw: int | None = 1
    "Training steps between draws of new directions; None keeps the first. Never in eval mode."

    def check(self) -> None:
        check_count("arc_cosine", self.features, halves=False)
        check_redraw("arc_cosine", self.redraw)

    def build(self, width: int, heads: int = 1) -> nn.Module:
        directions = RandomProjections(self.count(width), width, orthogonal=self.orthogonal, redraw=self.redraw)
        return ArcCosineFeatures(directions)

    def count(self, width: int) -> int:
        return self.features if self.features is not None else 2 * width


class FourierFeatures(nn.Module):
    """Sines and cosines of directions x/|x|, made in float32."""

    def __init__(self, directions: RandomProjections, sigma: float):
        super().__init__()
        self.directions, self.sigma = directions, sigma

    def forward(self, x_bhlk: Tensor, *, query: bool = False) -> Tensor:
        w_ck = self.directions(x_bhlk, first=query) / self.sigma
        return fourier_features(x_bhlk, w_ck, dtype=factor_dtype(x_bhlk))


class ArcCosineFeatures(nn.Module):
    """The positive parts of projections of directions x/|x|, in float32."""

    def __init__(self, directions: RandomProjections):
        super().__init__()
        self.directions = directions

    def forward(self, x_bhlk: Tensor, *, query: bool = False) -> Tensor:
        x = x_bhlk.to(accumulation_dtype(x_bhlk.dtype))
        unit = x / (x.square().sum(-1, keepdim=True) + 1e-12).sqrt()  # smooth at zero, where F.normalize is not
        w_mk = self.directions(unit, first=query)
        with without_autocast(x.device):
            return F.relu(unit @ w_mk.mT) * (2 / len(w_mk)) ** 0.5


def check_count(name: str, features: int | None, *, halves: bool) -> None:
    """Raise ValueError unless the number of features is positive and, with `halves`, even."""
    if features is not None and (features < 1 or (halves and features % 2)):
        even = ", even since they come in pairs" if halves else ""
        raise ValueError(f"{name}: features must be positive{even}, but {features} was given")


def check_redraw(name: str, redraw: int | None) -> None:
    """Raise ValueError unless `redraw` is a number of steps or None."""
    if redraw is not None and redraw < 1:
        raise ValueError(f"{name}: redraw must be at least 1 step, but {redraw} was given; None never draws anew")


def _check_sigma(name: str, sigma: float) -> None:
    if not 1 / _LARGEST_SIGMA <= sigma <= _LARGEST_SIGMA:
        raise ValueError(
            f"{name}: sigma must be positive, from {1 / _LARGEST_SIGMA:g} to {_LARGEST_SIGMA:g}, but {sigma} was given"
        )
