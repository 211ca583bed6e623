"""Exact search in plain torch, for small datastores and for ones that no memory holds."""

from __future__ import annotations

import torch
from torch import Tensor

from formers.retrieval.datastore import Datastore, Progress
from formers.retrieval.index import Found, Index, check_search, measured

_QUERIES = 256
"""Queries that are compared at a time."""
_SPARE = 8
"""Candidates beyond k that are measured again, since ‖q‖² − 2q·key + ‖key‖² rounds what is nearly equal."""


class Exact(Index):
    """Every key is compared with every query: needs nothing but torch, no room, and time in N·D for each query.

    The datastore is read block by block, so that it may be larger than the memory.
    """

    block: int = 1 << 15
    "Keys that are compared at a time."

    def check(self) -> None:
        if self.block < 1:
            raise ValueError(f"{self}: block must be at least 1")

    def open(self, store: Datastore, progress: Progress = lambda done, total: None) -> ExactSearcher:
        return ExactSearcher(store, self.block)


class ExactSearcher:
    """Compares every key of a datastore with every query."""

    def __init__(self, store: Datastore, block: int):
        self.store, self.block = store, block
        self.middle_d = store.keys[:block].float().mean(0)  # distances are those between what is left, and round less

    def search(self, queries_nd: Tensor, k: int) -> Found:
        """Return the k nearest keys of each query (n, D), on the CPU."""
        queries_nd = check_search(queries_nd, k, self.store.header.width)
        if not len(queries_nd):
            return Found(torch.empty(0, k), torch.empty(0, k, dtype=torch.long))
        parts = [self._search(part, k) for part in queries_nd.split(_QUERIES)]
        return Found(*(torch.cat(part) for part in zip(*parts, strict=True)))

    def _search(self, queries_nd: Tensor, k: int) -> Found:
        moved_nd = queries_nd - self.middle_d
        near_nm, entries_nm = torch.empty(len(queries_nd), 0), torch.empty(len(queries_nd), 0, dtype=torch.long)
        for start, keys_sd in self.store.blocks(self.block):
            keys_sd = keys_sd.float() - self.middle_d
            near_ns = torch.addmm(keys_sd.square().sum(-1)[None], moved_nd, keys_sd.T, alpha=-2)  # without ‖q‖²
            best_nm, order_nm = near_ns.topk(min(k + _SPARE, near_ns.shape[1]), largest=False)
            near_nm, entries_nm = torch.cat([near_nm, best_nm], 1), torch.cat([entries_nm, order_nm + start], 1)
            near_nm, order_nm = near_nm.topk(min(k + _SPARE, near_nm.shape[1]), largest=False)
            entries_nm = entries_nm.gather(1, order_nm)
        return measured(queries_nd, self.store.keys, entries_nm, k)
