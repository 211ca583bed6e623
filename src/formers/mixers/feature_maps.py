"""The feature axis: φ of linear attention, whose products stand for similarities."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from formers.ops import (
    ElementwiseFeature,
    accumulation_dtype,
    elementwise_features,
)
from formers.part import Part


class FeatureMap(Part):
    """φ of linear attention: similarity(q, k) = φ(q)·φ(k). Module: `forward(x_bhlk, query=False)` → (B, H, L, M)."""

    needs_normalizer: ClassVar[bool] = False
    "Whether a query's features are known only up to a factor, which a normaliser divides out."
    elementwise: ClassVar[ElementwiseFeature | None] = None
    "The name that `linear_attention` knows φ by, where φ is a function of each number: it is then applied in there."

    @property
    def exponential(self) -> bool:
        """Return whether features are exponentials that the mixer keeps in range.

        The module of such features has `largest_exponents(k_bhlk)`, (B, H, L), and takes `shift_bhl`, which the
        exponents of keys are lowered by.
        """
        return False

    def build(self, width: int, heads: int = 1) -> nn.Module:
        """Return the module for queries and keys of this width K in so many heads."""
        raise self.lacks("build(width, heads)")

    def count(self, width: int) -> int:
        """Return M, the number of features made of K."""
        return width

    def kernel(self) -> Callable[[Tensor], Tensor] | None:
        """Return q·k/√K → φ(q)·φ(k), positive, as a function of each number without φ, or None."""
        return None

    def floor(self) -> float:
        """Return the least size of a denominator made of these features; see `linear_attention`."""
        return 1e-18


def factor_dtype(t: Tensor) -> torch.dtype:
    """Return the dtype in which features meet tensors like t: bfloat16 on a GPU where these are, else float32 or wider.

    bfloat16 has the range of float32, which denominators need; in float16 they could vanish.
    """
    return t.dtype if t.is_cuda and t.dtype == torch.bfloat16 else accumulation_dtype(t.dtype)


class Elu(FeatureMap):
    """φ(x) = elu(x) + 1, positive. Source: Katharopoulos et al. 2020, arXiv:2006.16236."""

    elementwise = "elu"

    def build(self, width: int, heads: int = 1) -> nn.Module:
        return Elementwise("elu")


class Relu(FeatureMap):
    """φ(x) = max(x, 0). A query without a positive feature in common with any key reads zeros."""

    elementwise = "relu"

    def build(self, width: int, heads: int = 1) -> nn.Module:
        return Elementwise("relu")


class SquaredRelu(FeatureMap):
    """φ(x) = max(x, 0)²: sharper than relu. Source: Hua et al. 2022, arXiv:2202.10447."""

    elementwise = "squared_relu"

    def build(self, width: int, heads: int = 1) -> nn.Module:
        return Elementwise("squared_relu")


class Exp(FeatureMap):
    """φ(x) = exp(x), each feature on its own: positive, and sharper than elu + 1. Inputs above 88 overflow float32."""

    elementwise = "exp"

    def build(self, width: int, heads: int = 1) -> nn.Module:
        return Elementwise("exp")


class Taylor2(FeatureMap):
    """φ(q)·φ(k) = 1 + s + s²/2, s = q·k/√K: the softmax kernel's Taylor series to the second order, always positive.

    M = 1 + K + K(K+1)/2: each product x_a·x_b once. Source: Keles et al. 2023, arXiv:2209.04881; Arora et al. 2024,
    arXiv:2402.18668.
    """

    def build(self, width: int, heads: int = 1) -> nn.Module:
        return Taylor2Module(width)

    def count(self, width: int) -> int:
        return 1 + width + width * (width + 1) // 2

    def kernel(self) -> Callable[[Tensor], Tensor]:
        return _taylor2_kernel


def _taylor2_kernel(s: Tensor) -> Tensor:
    """Return 1 + s + s²/2 = ((1 + s)² + 1)/2."""
    return (s + 1).square().add(1).mul(0.5)


class Elementwise(nn.Module):
    """One of `elementwise_features`."""

    def __init__(self, name: ElementwiseFeature):
        super().__init__()
        self.name = name

    def forward(self, x_bhlk: Tensor, *, query: bool = False) -> Tensor:
        return elementwise_features(x_bhlk, self.name)


class Taylor2Module(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.width = width

    def forward(self, x_bhlk: Tensor, *, query: bool = False) -> Tensor:
        x = x_bhlk.to(accumulation_dtype(x_bhlk.dtype)) * self.width**-0.25  # products of two would leave float16
        rows, columns = torch.triu_indices(self.width, self.width, device=x.device)
        # (q·k)² = Σ_a q_a²k_a² + 2 Σ_{a<b} q_a q_b k_a k_b; half of it, split evenly between φ(q) and φ(k):
        weight = torch.ones_like(rows, dtype=x.dtype).masked_fill(rows == columns, math.sqrt(0.5))
        return torch.cat([torch.ones_like(x[..., :1]), x, x[..., rows] * x[..., columns] * weight], -1)
