"""The nearest-neighbour language model: a trained model that also asks its datastores."""

from __future__ import annotations

import os
import threading
from typing import Any

import torch
from torch import Tensor

from formers.models import CausalLM
from formers.part import Unsupported
from formers.retrieval.distribution import KnnOptions, knn_log_probs, mixed_log_probs
from formers.retrieval.representations import Tap, tapped
from formers.retrieval.retriever import Retriever

_ROWS = 1024
"""Queries that are asked at a time: the neighbours' distributions over the vocabulary are there at once."""


class _OpenTap(threading.local):
    """The representations of the call that runs in this thread."""

    tap: Tap | None = None


_open = _OpenTap()


class KnnLM(CausalLM):
    """p(w) = λ·p_kNN(w) + (1 − λ)·p_LM(w), p_kNN(w) ∝ Σ_i 1[y_i = w] exp(−d_i/T) over the k nearest entries.

    It is the given model itself, with the same modules, and can be used in its place: `logits` are log p, so that
    losses, metrics, sampling, beams and `generate()` are those of the mixture. No gradient reaches the neighbours'
    part. It is not saved: save the model, and keep the datastores. A context without any neighbour, which an
    approximate index may have, is left to the model. Costs a search for each token whose logits are asked for.
    Source: Khandelwal et al. 2020, arXiv:1911.00172.
    """

    counted_as = CausalLM  # searches are not among the costs that are counted
    has_exits = False  # a token that leaves early has no input of the last feed-forward to be found by

    def __init__(self, model: CausalLM, retriever: Retriever, options: KnnOptions | None = None):
        """Wrap a model. Raise ValueError where the datastores are those of another vocabulary."""
        if retriever.vocab_size != model.config.vocab_size:
            raise ValueError(
                f"the datastores are of {retriever.vocab_size} tokens, and the model knows {model.config.vocab_size}; "
                "give datastores that were made with this model"
            )
        with torch.device("meta"):  # these modules give way to the model's own
            super().__init__(model.config)
        self.model, self.lm_head = model.model, model.lm_head
        self.generation_config = model.generation_config
        self.retriever, self.options = retriever, options or KnnOptions()
        self.training = model.training  # without a change of what is in it

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Run `forward` with an eye on the representations that pass by."""
        with tapped(self, self.retriever.key) as tap:
            outer, _open.tap = _open.tap, tap
            try:
                return super().__call__(*args, **options)
            finally:
                _open.tap = outer

    def score(self, hidden_bld: Tensor, kept: slice | Tensor) -> Tensor:
        """Return log p of the kept tokens, (B, kept, vocabulary), float32. Raise RuntimeError outside of a call."""
        logits = super().score(hidden_bld, kept)
        if (tap := _open.tap) is None:
            raise RuntimeError("call the model itself, model(…), not its forward method")
        whole = self.retriever.key == "ffn_input"  # the head is given the kept ones alone
        shape = tuple(hidden_bld.shape[:2] if whole else logits.shape[:2])
        keys = tap.keys(shape)[:, kept] if whole else tap.keys(shape)
        scored = [
            mixed_log_probs(part, self._ask(queries), self.options.weight)
            for part, queries in zip(logits.flatten(0, 1).split(_ROWS), keys.flatten(0, 1).split(_ROWS), strict=True)
        ]
        return torch.cat(scored).view_as(logits) if scored else logits.float()

    def _ask(self, queries_nd: Tensor) -> Tensor:
        """Return log p_kNN for each query (n, D), (n, vocabulary), on the model's device."""
        near = self.retriever.search(queries_nd, self.options.k)
        device = queries_nd.device
        distances_nk, tokens_nk = near.distances_nk.to(device), near.tokens_nk.to(device)
        return knn_log_probs(distances_nk, tokens_nk, self.retriever.vocab_size, self.options.temperature)

    def save_pretrained(self, save_directory: str | os.PathLike[str], *args: Any, **options: Any) -> None:
        """Raise Unsupported: it has no weights of its own."""
        raise Unsupported(
            "a KnnLM has no weights of its own: save the model that it was made from; the datastores stay"
        )
