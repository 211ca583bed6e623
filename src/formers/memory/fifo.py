"""Keys and values of past tokens, first in, first out, in storage that is written on in place."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from formers.mixers.kv_cache import CacheStorage


class _End(NamedTuple):
    """Where a tensor ends in its storage."""

    storage: CacheStorage
    stop: int


class Fifo(NamedTuple):
    """Keys and values of some tokens of each row, the earliest first, without gradients.

    It is a value. The tensors are views of storage with space behind them, so that adding tokens costs time in these
    alone; of several that share a storage, the longest alone writes on in place.

    Attributes:
        k_bgsk, v_bgsv: (B, G, S, K) and (B, G, S, V).
        mask_bs: which of the tokens there are, (B, S); None = all.
        ends: where the two tensors end in their storages, if they have any.
    """

    k_bgsk: Tensor
    v_bgsv: Tensor
    mask_bs: Tensor | None = None
    ends: tuple[_End | None, _End | None] = (None, None)

    def followed_by(self, later: Fifo) -> Fifo:
        """Return these tokens and later ones, in the dtype of the later."""
        (k, k_end), (v, v_end) = (
            _longer(old, end, new) for old, end, new in zip(self[:2], self.ends, later[:2], strict=True)
        )
        mask_bs = None
        if self.mask_bs is not None or later.mask_bs is not None:
            mask_bs = torch.cat([self.all_masked(), later.all_masked()], 1)
        return Fifo(k, v, mask_bs, (k_end, v_end))

    def last(self, most: int) -> Fifo:
        """Return the last `most` tokens of each row, padding not counted."""
        if self.k_bgsk.shape[2] <= most:
            return self
        if self.mask_bs is None:
            return self.cut(slice(-most, None))
        order_bs = self.mask_bs.long().argsort(dim=1, stable=True)[:, -most:]
        k, v = (t.gather(2, order_bs[:, None, :, None].expand(-1, t.shape[1], -1, t.shape[3])) for t in self[:2])
        return Fifo(k, v, self.mask_bs.gather(1, order_bs))

    def cut(self, kept: slice) -> Fifo:
        """Return some of the tokens, the same ones of each row; a cut at the end loses the place in the storage."""
        mask_bs = None if self.mask_bs is None else self.mask_bs[:, kept]
        ends = self.ends if kept.stop is None else (None, None)
        return Fifo(self.k_bgsk[:, :, kept], self.v_bgsv[:, :, kept], mask_bs, ends)

    def all_masked(self) -> Tensor:
        """Return which tokens there are, (B, S), also where all are."""
        if self.mask_bs is not None:
            return self.mask_bs
        return torch.ones(len(self.k_bgsk), self.k_bgsk.shape[2], dtype=torch.bool, device=self.k_bgsk.device)

    def without(self, rows_b: Tensor) -> Fifo:
        """Return the same tokens, of which the rows that are True have none."""
        return self._replace(mask_bs=self.all_masked() & ~rows_b.unsqueeze(1))

    def apart(self) -> Fifo:
        """Return the same without its storage, as it has to be once its tensors are others."""
        return self._replace(ends=(None, None))

    def reorder(self, rows: Tensor) -> Fifo:
        """Return row `rows[i]` as row i."""
        k, v, mask_bs = (None if t is None else t.index_select(0, rows.to(t.device)) for t in self[:3])
        return Fifo(k, v, mask_bs)  # type: ignore[arg-type]


def _longer(old: Tensor, end: _End | None, new: Tensor) -> tuple[Tensor, _End | None]:
    """Return `old` followed by `new` along the length, in place where `old` ends its storage and that has space."""
    if torch.compiler.is_compiling() or new.is_meta:
        return torch.cat([old.to(new.dtype), new], 2), None
    kept, added = old.shape[2], new.shape[2]
    if end is None or old.dtype != new.dtype or not end.storage.take(end.stop, end.stop + added):
        tensor = new.new_empty((*new.shape[:2], 2 * (kept + added), new.shape[3]))
        tensor.narrow(2, 0, kept).copy_(old)
        end = _End(CacheStorage(tensor, kept + added), kept)
    stop = end.stop + added
    end.storage.tensor.narrow(2, end.stop, added).copy_(new)
    return end.storage.tensor.narrow(2, stop - kept - added, kept + added), _End(end.storage, stop)
