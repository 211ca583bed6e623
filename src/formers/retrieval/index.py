"""The axis of indices: ways to find the nearest keys of a datastore."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from formers.part import Part
from formers.retrieval.datastore import Datastore, Progress

_CANDIDATES = 1 << 12
"""Keys that are measured at a time: few enough to stay in cache."""


class Found(NamedTuple):
    """The nearest keys of each query, the nearest first.

    Attributes:
        distances_nk: squared distances ‖q − key‖², float32; infinite where there are fewer than k.
        entries_nk: numbers of the entries, int64; −1 where there are fewer than k.
    """

    distances_nk: Tensor
    entries_nk: Tensor


class Searcher(Protocol):
    """An opened index."""

    def search(self, queries_nd: Tensor, k: int) -> Found:
        """Return the k nearest keys of each query (n, D), on the CPU."""


class Index(Part):
    """A way to find the nearest keys of a datastore, by the distance L2."""

    def open(self, store: Datastore, progress: Progress = lambda done, total: None) -> Searcher:
        """Return a searcher over the datastore; what has to be built first is, and kept beside it for the next time."""
        raise NotImplementedError


def check_search(queries_nd: Tensor, k: int, width: int) -> Tensor:
    """Return the queries as float32 on the CPU. Raise ValueError for another shape, or for k below 1."""
    if queries_nd.ndim != 2 or queries_nd.shape[1] != width:
        raise ValueError(f"queries have shape {tuple(queries_nd.shape)}; expected (n, {width}), the width of the keys")
    if k < 1:
        raise ValueError(f"k must be at least 1, but {k} was given")
    return queries_nd.detach().float().cpu()


def measured(queries_nd: Tensor, keys_nd: Tensor, entries_nm: Tensor, k: int) -> Found:
    """Return the k nearest of some candidate entries (n, m), by their distances in full precision.

    A candidate of −1 is none. The candidates' keys are read from the datastore, 2·D or 4·D bytes each.
    """
    k_found = min(k, entries_nm.shape[1])
    parts = []
    rows = max(1, _CANDIDATES // entries_nm.shape[1])
    for queries, entries in zip(queries_nd.split(rows), entries_nm.split(rows), strict=True):
        keys = keys_nd.index_select(0, entries.clamp(min=0).flatten()).float().view(*entries.shape, -1)
        distances = torch.linalg.vector_norm(keys.sub_(queries[:, None]), dim=-1).square_()
        distances = distances.masked_fill_(entries < 0, torch.inf)
        nearest, order = distances.topk(k_found, largest=False)
        parts.append((nearest, entries.gather(1, order)))
    distances_nk, found_nk = (torch.cat(part) for part in zip(*parts, strict=True))
    return padded(Found(distances_nk, found_nk), k)


def padded(found: Found, k: int) -> Found:
    """Return what was found with entries of −1 behind it, so that there are k of each query."""
    missing = k - found.entries_nk.shape[1]
    if missing <= 0:
        return found
    rows = len(found.entries_nk)
    return Found(
        torch.cat([found.distances_nk, torch.full((rows, missing), torch.inf)], 1),
        torch.cat([found.entries_nk, torch.full((rows, missing), -1)], 1),
    )
