"""Keys in inverted lists of FAISS: those most like a query are found without comparing all."""

from __future__ import annotations

import math
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from formers.mixers.kv_cache import CacheStorage
from formers.part.faiss_library import faiss_library

_PER_LIST = 40
"""Keys in the sample that a list is trained on: enough for k-means, as FAISS advises (39 and more)."""
_GROWTH = 4
"""Lists are trained anew once there are so many times the keys that they were trained for."""


class StoredKeys(NamedTuple):
    """Where the keys of a memory lie, so that lists of them are kept.

    Attributes:
        storage: holds them, (B, G, ·, K); what is written there is never changed.
        begin: place of the memory's first key in it.
        probes: lists that a query looks into.
    """

    storage: CacheStorage
    begin: int
    probes: int

    def search(self, q_bhlk: Tensor, allowed_bs: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Return the largest products with allowed keys, (B, H, L, k), −∞ where there are fewer, and which keys.

        Args:
            allowed_bs: which of the memory's keys any query of a row may find, (B or 1, S).
        """
        lists = _KEPT.setdefault(self.storage, _KeyLists())
        last = int(allowed_bs.any(0).nonzero().max()) + 1
        lists.extend(self.storage.tensor[:, :, : self.begin + last])
        products, places = lists.search(q_bhlk, allowed_bs[:, :last], self, k)
        return products, (places - self.begin).clamp(min=0)


class _KeyLists:
    """One index for each row and head of keys, of the first `count` keys in a storage."""

    def __init__(self) -> None:
        self.indices: list[list[Any]] = []
        self.count = self.trained_for = 0

    def extend(self, k_bgsk: Tensor) -> None:
        """Add the keys that are not in it, all of them to new lists where it has grown by much."""
        total = k_bgsk.shape[2]
        if total <= self.count:
            return
        if not self.trained_for or total >= _GROWTH * self.trained_for:
            self.indices = [[_trained(keys_sk) for keys_sk in keys_gsk] for keys_gsk in k_bgsk.float().cpu()]
            self.count, self.trained_for = 0, total
        new_bgsk = k_bgsk[:, :, self.count :].float().cpu().contiguous()
        places = torch.arange(self.count, total).numpy()
        for of_row, keys_gsk in zip(self.indices, new_bgsk, strict=True):
            for index, keys_sk in zip(of_row, keys_gsk, strict=True):
                index.add_with_ids(keys_sk.numpy(), places)
        self.count = total

    def search(self, q_bhlk: Tensor, allowed_bs: Tensor, at: StoredKeys, k: int) -> tuple[Tensor, Tensor]:
        """Return products, and places in the storage."""
        faiss, groups = faiss_library(), len(self.indices[0])
        q_bgnk = q_bhlk.detach().unflatten(1, (groups, -1)).flatten(2, 3).float().cpu().contiguous()
        found = []
        for row, of_row in enumerate(self.indices):
            allowed_s = torch.zeros(self.count, dtype=torch.bool)
            allowed_s[at.begin : at.begin + allowed_bs.shape[1]] = allowed_bs[row if len(allowed_bs) > 1 else 0].cpu()
            chosen = faiss.IDSelectorBatch(allowed_s.nonzero().squeeze(1).numpy())
            options = faiss.SearchParametersIVF(sel=chosen, nprobe=at.probes)
            found += [
                index.search(q_nk.numpy(), k, params=options) for index, q_nk in zip(of_row, q_bgnk[row], strict=True)
            ]
        products, places = (torch.stack([torch.from_numpy(pair[i]) for pair in found]) for i in (0, 1))
        shape = (*q_bhlk.shape[:3], k)
        products = products.view(shape).masked_fill(places.view(shape) < 0, -torch.inf)
        return products.to(q_bhlk), places.view(shape).to(q_bhlk.device)


_KEPT: WeakKeyDictionary[CacheStorage, _KeyLists] = WeakKeyDictionary()
"""Lists live as long as the storage of their keys. They are no part of a state, and made again where it was saved."""


def _trained(keys_sk: Tensor) -> Any:
    """Return an empty index of FAISS by products, about √S lists, trained on some of the keys."""
    faiss, (count, width) = faiss_library(), keys_sk.shape
    lists = max(1, 2 ** round(math.log2(math.sqrt(count))))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.min_points_per_centroid = 1  # small ones need no warning
    index.train(keys_sk[:: max(1, count // (_PER_LIST * lists))].contiguous().numpy())
    return index
