"""Feature maps that are learned, so that linear attention comes near the softmax attention of a trained model."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from formers.mixers.feature_maps import FeatureMap, factor_dtype
from formers.ops import opposite_softmaxes


class Hedgehog(FeatureMap):
    """φ(x) = [softmax(W x), softmax(−W x)], a K×K matrix W for each head, one for queries and one for keys.

    M = 2·K positive features, which can be as sharp as softmax attention. W starts as the identity; see
    `formers.adapt` for how a trained model's attention teaches it. 2·H·K² weights a layer.
    Source: Zhang et al. 2024 (The Hedgehog & the Porcupine), arXiv:2402.04347.
    """

    def build(self, width: int, heads: int = 1) -> nn.Module:
        return HedgehogFeatures(width, heads)

    def count(self, width: int) -> int:
        return 2 * width


class T2r(FeatureMap):
    """φ(x) = max(W x + b, 0), an M×K matrix W and b for each head, for queries and keys alike.

    W starts as the identity with random rows behind it, b as 0.
    Source: Kasai et al. 2021 (Finetuning Pretrained Transformers into RNNs), arXiv:2103.13076.
    """

    features: int | None = None
    "M; K unless given."

    def check(self) -> None:
        if self.features is not None and self.features < 1:
            raise ValueError(f"t2r: features must be at least 1, but {self.features} was given")

    def build(self, width: int, heads: int = 1) -> nn.Module:
        return T2rFeatures(self.count(width), width, heads)

    def count(self, width: int) -> int:
        return width if self.features is None else self.features


class HedgehogFeatures(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.query_hkk = nn.Parameter(torch.empty(heads, width, width))
        self.key_hkk = nn.Parameter(torch.empty(heads, width, width))
        self.init_weights(0.0)

    def init_weights(self, std: float) -> None:
        """Set both matrices of each head to the identity."""
        for weight in (self.query_hkk, self.key_hkk):
            _set_identity(weight)

    def forward(self, x_bhlk: Tensor, *, query: bool = False) -> Tensor:
        """Return the features, (B, H, L, 2K), in the dtype in which they meet values."""
        x = x_bhlk @ (self.query_hkk if query else self.key_hkk).mT
        return opposite_softmaxes(x.to(factor_dtype(x)))


class T2rFeatures(nn.Module):
    def __init__(self, features: int, width: int, heads: int):
        super().__init__()
        self.weight_hmk = nn.Parameter(torch.empty(heads, features, width))
        self.bias_hm = nn.Parameter(torch.empty(heads, features))
        self.init_weights(0.0)

    def init_weights(self, std: float) -> None:
        """Set the first K rows to the identity, the others to N(0, 1/K), and the bias to 0."""
        _set_identity(self.weight_hmk)
        nn.init.zeros_(self.bias_hm)

    def forward(self, x_bhlk: Tensor, *, query: bool = False) -> Tensor:
        """Return the features, (B, H, L, M), in the dtype in which they meet values."""
        x = x_bhlk @ self.weight_hmk.mT + self.bias_hm.unsqueeze(1)
        return F.relu(x.to(factor_dtype(x)))


@torch.no_grad()
def _set_identity(weight_hmk: Tensor) -> None:
    """Set the first K rows of each head's matrix to the identity, and the others to N(0, 1/K)."""
    _, features, width = weight_hmk.shape
    weight_hmk.copy_(torch.eye(features, width, dtype=weight_hmk.dtype, device=weight_hmk.device))
    if features > width:
        nn.init.normal_(weight_hmk[:, width:], std=width**-0.5)
