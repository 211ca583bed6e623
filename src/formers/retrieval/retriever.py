"""Neighbours from one datastore, or from several as if they were one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from formers.models import CausalLM
from formers.retrieval.datastore import Datastore, Progress
from formers.retrieval.exact import Exact
from formers.retrieval.index import Index, Searcher
from formers.retrieval.representations import Key


class NearTokens(NamedTuple):
    """The neighbours of each query, the nearest first.

    Attributes:
        distances_nk: squared distances, float32; infinite where there are fewer than k.
        tokens_nk: the token that followed each, int64; 0 where there are fewer than k.
    """

    distances_nk: Tensor
    tokens_nk: Tensor


class Retriever:
    """Finds neighbours in datastores of one model. Several are searched as if they were one: the nearest of all count.

    So a second corpus is added to a model without training.

    Attributes:
        key: the representation that all of the datastores hold.
        vocab_size: tokens that the model knows.
    """

    def __init__(self, stores: Sequence[tuple[Datastore, Searcher]]):
        """Join opened datastores. Raise ValueError for none, and where they are of different models or keys."""
        if not stores:
            raise ValueError("no datastore was given")
        self.stores = list(stores)
        first = stores[0][0]
        for store, _ in stores[1:]:
            for name in ("model", "key", "width", "vocab_size"):
                if getattr(store.header, name) != getattr(first.header, name):
                    raise ValueError(
                        f"{first.folder} and {store.folder} cannot be joined: they differ in {name}; distances in one "
                        "mean nothing in the other"
                    )
        self.key: Key = first.header.key
        self.vocab_size = first.header.vocab_size

    @classmethod
    def open(
        cls,
        folders: Sequence[Path | str],
        model: CausalLM,
        index: Index | None = None,
        progress: Progress = lambda done, total: None,
    ) -> Retriever:
        """Return a retriever over the datastores in these folders, all made with this model.

        Args:
            index: how they are searched; exactly unless given. It is built where it is not there yet.
            progress: is told how many keys are in an index that is built.
        """
        stores = [Datastore.open(folder, model) for folder in folders]
        return cls([(store, (index or Exact()).open(store, progress)) for store in stores])

    def __len__(self) -> int:
        return sum(len(store) for store, _ in self.stores)

    def search(self, queries_nd: Tensor, k: int) -> NearTokens:
        """Return the k nearest of all entries for each query (n, D), on the CPU."""
        distances, tokens = [], []
        for store, searcher in self.stores:
            found = searcher.search(queries_nd, k)
            distances.append(found.distances_nk)
            tokens.append(store.tokens[found.entries_nk.clamp(min=0)].long().masked_fill(found.entries_nk < 0, 0))
        if len(self.stores) == 1:
            return NearTokens(distances[0], tokens[0])
        nearest, order = torch.cat(distances, 1).topk(k, largest=False)
        return NearTokens(nearest, torch.cat(tokens, 1).gather(1, order))
