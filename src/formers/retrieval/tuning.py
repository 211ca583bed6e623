"""λ, k and T that predict a validation text best, and scores of texts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from formers.models import CausalLM
from formers.part import evaluating
from formers.retrieval.datastore import Progress
from formers.retrieval.distribution import KnnOptions, log_mixture
from formers.retrieval.reading import Reading
from formers.retrieval.representations import represent
from formers.retrieval.retriever import Retriever

KS = (1, 4, 16, 64, 256, 1024)
WEIGHTS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_POWERS = range(-5, 4)
"""Temperatures that are tried unless given: 2^p of the mean distance of the nearest neighbours of the first windows."""


@dataclass(frozen=True)
class Score:
    """How well a text is predicted.

    Attributes:
        nats: the mean −log p of a token.
        tokens: how many were predicted.
    """

    nats: float
    tokens: int

    @property
    def bits(self) -> float:
        """Bits per token."""
        return self.nats / math.log(2)

    @property
    def perplexity(self) -> float:
        """exp of the mean −log p."""
        return math.exp(self.nats)


@dataclass(frozen=True)
class Tuned:
    """The options that predict a text best.

    Attributes:
        options: λ, k and T.
        score: of the mixture with them, on the text they were chosen on.
        model: of the model alone on the same text.
        table: (k, T) → the best λ with these, and the score.
    """

    options: KnnOptions
    score: Score
    model: Score
    table: dict[tuple[int, float], tuple[float, Score]]


def score_text(model: CausalLM, ids: Tensor, reading: Reading, progress: Progress = lambda done, total: None) -> Score:
    """Return how well a model, such as a `KnnLM`, predicts a text (N,): each token but the first, once."""
    total, count = 0.0, reading.count(ids)
    done = 0
    with evaluating(model):
        for batch in reading.batches(ids):
            logits = model(input_ids=batch.ids_bl.to(model.device), use_cache=False).logits
            targets = batch.targets.to(logits.device)
            total += F.cross_entropy(batch.at(logits).float(), targets, reduction="sum").item()
            done += len(targets)
            progress(done, count)
    return Score(total / count, count)


def tune(
    model: CausalLM,
    retriever: Retriever,
    ids: Tensor,
    reading: Reading,
    *,
    ks: Sequence[int] = KS,
    temperatures: Sequence[float] | None = None,
    weights: Sequence[float] = WEIGHTS,
    progress: Progress = lambda done, total: None,
) -> Tuned:
    """Return the λ, k and T of those to try with which the mixture predicts a text (N,) best.

    The text must be one that neither the model nor the datastores were made from: a context that is in the datastore
    finds itself. Each token's neighbours are searched once. Memory: 4 bytes for each token, k and T.

    Args:
        model: the model that made the datastores.
        ks, temperatures, weights: what to try; temperatures of None are multiples of the mean distance to the nearest.
    """
    ks = sorted({min(k, len(retriever)) for k in ks})
    log_lm: list[Tensor] = []
    shares: list[Tensor] = []
    count, done = reading.count(ids), 0
    with evaluating(model):
        for distances, right, log_model in _asked(model, retriever, ids, reading, ks[-1]):
            if temperatures is None:
                nearest = distances[:, 0][distances[:, 0].isfinite()]
                middle = max(float(nearest.mean()), 1e-6) if len(nearest) else 1.0
                temperatures = [middle * 2.0**power for power in _POWERS]
            log_lm.append(log_model)
            shares.append(torch.stack([_share_of_target(distances, right, ks, t) for t in temperatures]))
            done += len(log_model)
            progress(done, count)
    assert temperatures is not None
    whole_lm, log_knn = torch.cat(log_lm), torch.cat(shares, -1).log_()
    table = {
        (k, t): _best_weight(log_knn[i, j], whole_lm, weights)
        for i, t in enumerate(temperatures)
        for j, k in enumerate(ks)
    }
    (k, temperature), (weight, score) = min(table.items(), key=lambda item: item[1][1].nats)
    options = KnnOptions(k=k, temperature=temperature, weight=weight)
    return Tuned(options, score, Score(-whole_lm.double().mean().item(), count), table)


def _asked(
    model: CausalLM, retriever: Retriever, ids: Tensor, reading: Reading, k: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield, for the entries of a text, distances (n, k), which neighbours are right (n, k), and log p_LM (n,)."""
    for batch in reading.batches(ids):
        keys, logits = represent(model, batch.ids_bl, retriever.key)
        log_lm = F.log_softmax(batch.at(logits).float(), -1).cpu().gather(1, batch.targets[:, None])[:, 0]
        near = retriever.search(batch.at(keys), k)
        yield near.distances_nk, near.tokens_nk == batch.targets[:, None], log_lm


def _share_of_target(distances_nk: Tensor, right_nk: Tensor, ks: Sequence[int], temperature: float) -> Tensor:
    """Return p_kNN of the target with each k, (ks, n); NaN where there is no neighbour."""
    weights_nk = ((distances_nk[:, :1] - distances_nk) / temperature).exp()
    last = torch.tensor([k - 1 for k in ks])
    total_nk, hits_nk = weights_nk.cumsum(1)[:, last], (weights_nk * right_nk).cumsum(1)[:, last]
    return (hits_nk / total_nk).T


def _best_weight(log_knn: Tensor, log_lm: Tensor, weights: Sequence[float]) -> tuple[float, Score]:
    """Return the λ with the smallest mean −log p of the targets, and that."""
    log_knn = torch.where(log_knn.isnan(), log_lm, log_knn)
    nats = {weight: -log_mixture(log_knn, log_lm, weight).double().mean().item() for weight in weights}
    best = min(nats, key=lambda weight: nats[weight])
    return best, Score(nats[best], len(log_lm))
