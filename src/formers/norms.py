"""The norm axis: functions that keep activations at scale."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from formers.ops import max_norm
from formers.part import Part, Site


class Norm(Part):
    """A function that keeps activations at scale, over the last axis: (…, D) → (…, D)."""

    def check(self) -> None:
        eps = getattr(self, "eps", None)
        if eps is not None and not eps > 0:
            raise ValueError(f"{self.name()}: eps must be positive, but {eps} was given; zeros would be divided by it")

    def build(self, site: Site) -> nn.Module:
        """Return the module, (…, D) → (…, D)."""
        raise self.lacks("build(site)")


NORM_OPTIONS = ("embedding_norm", "final_norm", "qk_norm")
"""Options of a configuration that hold a norm, or None, beside `norm`, which is that of the layers."""


class LayerNorm(Norm):
    """(x − mean) / √(variance + ε) · w + b. Source: Ba et al. 2016, arXiv:1607.06450."""

    eps: float = 1e-5
    "ε, added to the variance."
    bias: bool = True
    "Whether b is learned."

    def build(self, site: Site) -> nn.Module:
        return nn.LayerNorm(site.width, self.eps, bias=self.bias)


class RmsNorm(Norm):
    """x / √(mean(x²) + ε) · w. Source: Zhang & Sennrich 2019, arXiv:1910.07467."""

    eps: float = 1e-6
    "ε, added to the mean square."

    def build(self, site: Site) -> nn.Module:
        return nn.RMSNorm(site.width, self.eps)


class MaxNorm(Norm):
    """x / (max|x| + ε): DANet's MaxNormActivation. No mean, no square, so it cannot overflow float16.

    The published code has ε = 1e-3 without a weight and ε = 1e-12 with one, of either kind. Source: Argatkiny & Makarov
    2025 (DenseAttention).
    """

    weight: Literal["none", "after", "before"] = "none"
    "A learned weight per feature: none, on the result, or on the input."
    eps: float = 1e-3
    "ε, added to the maximum."

    def build(self, site: Site) -> nn.Module:
        return MaxNormModule(site.width, self.weight, self.eps)


class Hardtanh(Norm):
    """x cut off at −1 and 1: what the published code of DANet has after the embedding unless told otherwise.

    As a model's only norm it bounds activations, and does not bring small ones up to scale. Source: Argatkiny & Makarov
    2025 (DenseAttention).
    """

    def build(self, site: Site) -> nn.Module:
        return nn.Hardtanh()


class NoNorm(Norm):
    """x: no norm, as `final_norm=none` leaves the stream as it is."""

    @classmethod
    def name(cls) -> str:
        return "none"

    def build(self, site: Site) -> nn.Module:
        return nn.Identity()


class MaxNormModule(nn.Module):
    def __init__(self, width: int, place: str, eps: float):
        super().__init__()
        self.place, self.eps = place, eps
        self.weight = None if place == "none" else nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        if self.weight is not None and self.place == "before":
            x = x * self.weight
        y = max_norm(x, eps=self.eps)
        return y * self.weight if self.weight is not None and self.place == "after" else y

    def init_weights(self, std: float) -> None:
        if self.weight is not None:
            nn.init.ones_(self.weight)
