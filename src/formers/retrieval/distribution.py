"""The distribution over next tokens that neighbours make, and its mixture with a model's."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, kw_only=True)
class KnnOptions:
    """How neighbours speak. The defaults are the paper's for Wikitext-103; `tune` finds those that fit.

    Attributes:
        k: neighbours of each context.
        temperature: T in exp(−d/T), d the squared distance: of the size of the distances themselves.
        weight: λ in λ·p_kNN + (1 − λ)·p_LM.

    Raise ValueError where k is below 1, T is not positive, or λ is not between 0 and 1.
    """

    k: int = 1024
    temperature: float = 1.0
    weight: float = 0.25

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k must be at least 1, but {self.k} was given")
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature must be positive and finite, but {self.temperature} was given")
        if not 0 <= self.weight <= 1:
            raise ValueError(f"weight must be from 0 to 1, but {self.weight} was given")


def knn_log_probs(distances_nk: Tensor, tokens_nk: Tensor, vocab_size: int, temperature: float) -> Tensor:
    """Return log p_kNN(w) = log Σ_i 1[y_i = w] exp(−d_i/T) − log Σ_i exp(−d_i/T), (n, vocabulary), float32.

    A token that no neighbour has is at −∞. Where all distances are infinite, because there are no neighbours, the row
    is NaN.

    Args:
        distances_nk: squared distances d, infinite for no neighbour.
        tokens_nk: the token that followed each neighbour, y; of no neighbour, any.
    """
    shares_nk = (-distances_nk.float() / temperature).softmax(-1)
    p_nv = shares_nk.new_zeros(len(shares_nk), vocab_size)
    return p_nv.scatter_add_(1, tokens_nk.long(), shares_nk).log()


def mixed_log_probs(logits: Tensor, log_knn: Tensor, weight: float) -> Tensor:
    """Return log(λ·p_kNN + (1 − λ)·softmax(logits)), (…, vocabulary), float32.

    Rows of p_kNN that are NaN, those without a neighbour, are left to the model.
    """
    log_lm = F.log_softmax(logits.float(), -1)
    mixed = log_mixture(log_knn, log_lm, weight)
    return torch.where(log_knn.isnan().any(-1, keepdim=True), log_lm, mixed)


def log_mixture(log_knn: Tensor, log_lm: Tensor, weight: float) -> Tensor:
    """Return log(λ·p_kNN + (1 − λ)·p_LM) from the logarithms of both, whatever they are too small for."""
    if weight == 0:
        return log_lm
    rest = math.log1p(-weight) if weight < 1 else -math.inf
    return torch.logaddexp(log_knn + math.log(weight), log_lm + rest)
