"""The kNN-LM from its formula: loops in float64, which share nothing with the fast way."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor


def naive_neighbours(query: Sequence[float], keys: Sequence[Sequence[float]], k: int) -> list[tuple[float, int]]:
    """Return (d, entry) of the k keys with the smallest d = Σ_j (q_j − key_j)², the nearest first."""
    distances = [sum((q - x) ** 2 for q, x in zip(query, key, strict=True)) for key in keys]
    return sorted((d, i) for i, d in enumerate(distances))[:k]


def naive_knn_lm(
    query: Tensor, keys: Tensor, tokens: Tensor, logits: Tensor, *, k: int, temperature: float, weight: float
) -> list[float]:
    """Return p(w) = λ·p_kNN(w) + (1 − λ)·p_LM(w) for every token w of the vocabulary.

    p_kNN(w) = Σ_{i ∈ neighbours} 1[y_i = w]·exp(−d_i/T) / Σ_{i ∈ neighbours} exp(−d_i/T), p_LM = softmax(logits).
    Source: Khandelwal et al. 2020, arXiv:1911.00172, equations 2 and 3.

    Args:
        query: the context's representation, (D,).
        keys, tokens: the datastore, (N, D) and (N,).
        logits: of the model for the same context, (vocabulary,).
    """
    near = naive_neighbours(query.double().tolist(), keys.double().tolist(), k)
    nearest = near[0][0]
    shares = [math.exp(-(d - nearest) / temperature) for d, _ in near]
    scores = logits.double().tolist()
    model = [math.exp(score - max(scores)) for score in scores]
    mixed = []
    for w in range(len(scores)):
        p_knn = sum(share for share, (_, i) in zip(shares, near, strict=True) if int(tokens[i]) == w) / sum(shares)
        mixed.append(weight * p_knn + (1 - weight) * model[w] / sum(model))
    return mixed
