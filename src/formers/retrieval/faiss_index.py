"""Indices of FAISS: over all keys in memory, and over compressed keys in inverted lists (IVF-PQ)."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from formers.part.faiss_library import faiss_library
from formers.retrieval.datastore import Datastore, Progress
from formers.retrieval.index import Found, Index, check_search, measured, padded
from formers.retrieval.index_file import add_keys, load_or_build

_PER_LIST = 40
"""Keys in the training sample for each list: enough for k-means, as FAISS advises (39 and more)."""
_CODES = 256
"""Centroids of each piece of a key where its code is one byte."""


class Flat(Index):
    """Every key is compared with every query, by FAISS: 4·D bytes of memory a key, and time in N·D for each query.

    Needs the extra `retrieval`. Source: Douze et al. 2024 (Faiss), arXiv:2401.08281.
    """

    def open(self, store: Datastore, progress: Progress = lambda done, total: None) -> FaissSearcher:
        index = faiss_library().IndexFlatL2(store.header.width)
        for _ in add_keys(index, store, progress):
            pass
        return FaissSearcher(index, store, self)


class IvfPq(Index):
    """Keys in inverted lists around k-means centroids, each as a few bytes (product quantisation): fast, approximate.

    A query is compared with the codes in the lists of the `probes` nearest centroids. `code_bytes` + 8 bytes of memory
    a key; trained on a sample, and kept in a file beside the datastore; a build that is stopped goes on. Needs the
    extra `retrieval`. Source: Jégou et al. 2011 (product quantisation); Douze et al. 2024 (Faiss), arXiv:2401.08281.
    """

    lists: int | None = None
    "Inverted lists; the power of two nearest to 2·√N unless given."
    code_bytes: int | None = None
    """Bytes of a key's code, which stands for as many pieces of the key, or twice as many of 4 bits; these divide D.
    The largest number that is at most D/4, unless given."""
    bits: Literal[4, 8] = 8
    """Bits of a piece's code. With 4, FAISS compares a query with 32 codes at once (fast scan): faster, and less exact,
    which `fetch` makes up for."""
    probes: int = 32
    "Lists that a query looks into: more find more, and take longer."
    fetch: float = 1.0
    "Candidates for each neighbour that is asked for; with more than one, `rescore` picks the nearest of them."
    rescore: bool = True
    "Whether distances are measured again with the keys themselves, which are read from the disk where it holds them."
    seed: int = 0
    "Of the training sample and of k-means."

    def check(self) -> None:
        for name in ("lists", "code_bytes", "probes"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{self}: {name} must be at least 1")
        if self.fetch < 1 or (self.fetch > 1 and not self.rescore):
            raise ValueError(f"{self}: fetch must be 1, or more with rescore=True")

    def open(self, store: Datastore, progress: Progress = lambda done, total: None) -> FaissSearcher:
        sized = self.sized(store)
        name = str(sized.swap(probes=1, fetch=1.0, rescore=True))  # these matter when it is searched only
        index = load_or_build(name, store, lambda: sized.train(store), progress)
        faiss_library().extract_index_ivf(index).nprobe = self.probes
        return FaissSearcher(index, store, self)

    def sized(self, store: Datastore) -> IvfPq:
        """Return the same index with the sizes that it has over this datastore.

        Raise ValueError where the width of the keys is no multiple of the code's pieces, or keys are too few.
        """
        width, each = store.header.width, 8 // self.bits
        fitting = [m for m in range(1, max(1, width // 4) + 1) if width % (m * each) == 0]
        code = self.code_bytes or max(fitting, default=1)
        if width % (code * each):
            name = "code_bytes" if each == 1 else "twice code_bytes"
            raise ValueError(f"{self}: {name} must divide the width of the keys, {width}")
        if len(store) < _CODES:
            raise ValueError(f"{self} needs {_CODES} keys to train on, and there are {len(store)}; take exact()")
        lists = self.lists or 2 ** round(math.log2(2 * math.sqrt(len(store))))
        if lists > len(store):
            raise ValueError(f"{self}: there are {len(store)} keys for {lists} lists; take fewer")
        return self.swap(lists=lists, code_bytes=code)

    def train(self, store: Datastore) -> Any:
        """Return a trained index of FAISS without keys; the sizes are given."""
        assert self.lists is not None
        assert self.code_bytes is not None
        faiss, width = faiss_library(), store.header.width
        coarse = faiss.IndexFlatL2(width)
        if self.bits == 4:
            index = faiss.IndexIVFPQFastScan(coarse, width, self.lists, 2 * self.code_bytes, 4)
        else:
            index = faiss.IndexIVFPQ(coarse, width, self.lists, self.code_bytes, 8)
        index.cp.seed = index.pq.cp.seed = self.seed
        index.cp.min_points_per_centroid = index.pq.cp.min_points_per_centroid = 1  # small ones need no warning
        index.train(store.sample(max(_PER_LIST * self.lists, _PER_LIST * _CODES), self.seed).numpy())
        return index


class FaissSearcher:
    """Asks an index of FAISS, and measures the distances of what it finds again where the part says so."""

    def __init__(self, index: Any, store: Datastore, part: Flat | IvfPq):
        self.index, self.store, self.part = index, store, part

    def search(self, queries_nd: Tensor, k: int) -> Found:
        """Return the k nearest keys of each query (n, D), on the CPU."""
        queries_nd = check_search(queries_nd, k, self.store.header.width)
        rescored = isinstance(self.part, IvfPq) and self.part.rescore
        asked = min(math.ceil(k * self.part.fetch) if isinstance(self.part, IvfPq) else k, len(self.store))
        if not len(queries_nd):
            return Found(torch.empty(0, k), torch.empty(0, k, dtype=torch.long))
        distances, entries = map(torch.from_numpy, self.index.search(queries_nd.contiguous().numpy(), asked))
        if rescored:
            return measured(queries_nd, self.store.keys, entries, k)
        return padded(Found(distances.masked_fill(entries < 0, torch.inf), entries), k)
