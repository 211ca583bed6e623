"""Distances between queries and keys, and tables of one entry for each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from formers.ops import can_read, is_free_to_read, read_once


@dataclass(frozen=True)
class Distances:
    """The distances j − i of queries at i and keys at j, of which a table holds one entry each, from `low` to `high`.

    Distances outside share the entry at that end. Where queries and keys both stand at consecutive positions, row i of
    the scores is a stretch of the table that moves by one from row to row: a view of memory, with nothing gathered.

    Attributes:
        q_bl, k_bs: positions of queries (B or 1, L) and keys (B or 1, S).
        low, high: the first and the last distance in the table.
        first: k_0 − q_0 if both are runs of consecutive positions, and it is the same in every sequence; None if not.
    """

    q_bl: Tensor
    k_bs: Tensor
    low: int
    high: int
    first: int | None

    @classmethod
    def clipped(cls, q_bl: Tensor, k_bs: Tensor, reach: int) -> Distances:
        """Return the distances of these positions, of which those beyond ± reach share an entry."""
        if not _are_read(q_bl, k_bs):
            return cls(q_bl, k_bs, -reach, reach, None)
        ends = _read(q_bl, k_bs)
        return cls(q_bl, k_bs, min(max(ends.low, -reach), reach), min(max(ends.high, -reach), reach), ends.first)

    @classmethod
    def whole(cls, q_bl: Tensor, k_bs: Tensor, *, causal: bool = False) -> Distances | None:
        """Return the distances of these positions, each with an entry; None where there can be no such table.

        Causal, those that are hidden share the entry of the last that is seen, where all stand at consecutive places.
        Their number is not known where positions cannot be read, and has no end where they lie far apart, as position
        ids may: at most four entries for each query and key are made.
        """
        if not can_read(q_bl):
            return None
        ends = _read(q_bl, k_bs)
        together = ends.high - ends.low < 4 * (q_bl.shape[1] + k_bs.shape[1])
        last_seen = None if ends.first is None or not causal else ends.first + k_bs.shape[1] - q_bl.shape[1]
        high = ends.high if last_seen is None else max(min(ends.high, last_seen), ends.low)
        return cls(q_bl, k_bs, ends.low, high, ends.first) if together else None

    def all(self) -> Tensor:
        """Return the distances of the table's entries, (n,)."""
        return torch.arange(self.low, self.high + 1, device=self.q_bl.device)

    def window(self, start: int, rows: int, keys: int) -> slice:
        """Return which entries of the table belong to pairs of queries from `start` on and the first keys."""
        return slice(None) if self.first is None else self._cut(start, rows, keys)[1]

    def spread(self, t_bhln: Tensor, start: int, keys: int) -> Tensor:
        """Return the entry of every such pair, given those of the window: (…, l, n) → (…, l, keys)."""
        rows = t_bhln.shape[2]
        if self.first is None:
            index_bhls = self._entries(t_bhln.shape[0], t_bhln.shape[1], start, rows, keys)
            return t_bhln.expand(index_bhls.shape[0], -1, -1, -1).gather(3, index_bhls)
        before, _, after = self._cut(start, rows, keys)
        if before or after:
            ends = (t_bhln[..., :1].expand(-1, -1, -1, before), t_bhln[..., -1:].expand(-1, -1, -1, after))
            t_bhln = torch.cat([ends[0], t_bhln, ends[1]], 3)
        if rows == 1:
            return t_bhln
        # The last row begins at the first entry, each row above one further: read with a stride of one entry less.
        step = rows + keys - 2
        return t_bhln.flatten(2)[..., rows - 1 : rows - 1 + rows * step].unflatten(2, (rows, step))[..., :keys]

    def collect(self, w_bhls: Tensor, start: int) -> Tensor:
        """Return the sum over the pairs of each entry, the transpose of `spread`: (B, H, l, s) → (B, H, l, n)."""
        (batch, heads, rows, keys), count = w_bhls.shape, self.high - self.low + 1
        if self.first is None:
            index_bhls = self._entries(batch, heads, start, rows, keys)
            return w_bhls.new_zeros(batch, heads, rows, count).scatter_add(3, index_bhls, w_bhls)
        if rows > 1:
            w_bhls = pad(pad(w_bhls, (0, rows - 2)).flatten(2), (rows - 1, 1)).unflatten(2, (rows, rows + keys - 1))
        before, inside, after = self._cut(start, rows, keys)
        sums_bhln = pad(w_bhls[..., before : before + inside.stop - inside.start], (inside.start, count - inside.stop))
        first_bhl = w_bhls[..., :before].sum(3, keepdim=True)
        last_bhl = w_bhls[..., w_bhls.shape[3] - after :].sum(3, keepdim=True)
        return sums_bhln + pad(first_bhl, (0, count - 1)) + pad(last_bhl, (count - 1, 0))

    def at(self, q_bl: Tensor, k_bs: Tensor) -> tuple[Distances, slice]:
        """Return the distances of others among these queries and keys, and which part of the table they have."""
        if not is_free_to_read(q_bl):
            return Distances(q_bl, k_bs, self.low, self.high, None), slice(None)
        ends = _read(q_bl, k_bs)
        low, high = (min(max(end, self.low), self.high) for end in (ends.low, ends.high))
        return Distances(q_bl, k_bs, low, high, ends.first), slice(low - self.low, high - self.low + 1)

    def _cut(self, start: int, rows: int, keys: int) -> tuple[int, slice, int]:
        """Return how many distances of a block lie before the table, which entries it reads, and how many lie after.

        A block wholly before or after the table reads the entry at that end.
        """
        assert self.first is not None
        count, size = rows + keys - 1, self.high - self.low + 1
        least = self.first - (start + rows - 1) - self.low
        begin, last = (min(max(entry, 0), size - 1) for entry in (least, least + count - 1))
        outside = count - (last + 1 - begin)
        before = min(max(begin - least, 0), outside)
        return before, slice(begin, last + 1), outside - before

    def _entries(self, batch: int, heads: int, start: int, rows: int, keys: int) -> Tensor:
        """Return the index in the table of every pair, (B, H, l, s)."""
        q_bl1, k_b1s = self.q_bl[:, start : start + rows, None], self.k_bs[:, None, :keys]
        index_bls = (k_b1s - q_bl1).clamp(self.low, self.high) - self.low
        return index_bls.unsqueeze(1).expand(batch if index_bls.shape[0] == 1 else -1, heads, -1, -1)


class _Extent(NamedTuple):
    """The least and the largest distance, and that of the first query and key where all stand at consecutive places."""

    low: int
    high: int
    first: int | None


def _are_read(q_bl: Tensor, k_bs: Tensor) -> bool:
    """Return whether positions are to be looked at: where that is free, and once for a sequence that meets itself.

    Not those of several rows, which are runs in none where there is padding.
    """
    return is_free_to_read(q_bl) or (can_read(q_bl) and k_bs is q_bl and len(q_bl) == 1 and q_bl.shape[1] > 1)


def _read(q_bl: Tensor, k_bs: Tensor) -> _Extent:
    """Read the ends of the distances on the host, once for all layers where a sequence meets itself."""
    return read_once(q_bl, "distances", lambda t: _looked_at(t, t)) if k_bs is q_bl else _looked_at(q_bl, k_bs)


def _looked_at(q_bl: Tensor, k_bs: Tensor) -> _Extent:
    """Read the ends of the distances on the host, all at once: a device is waited for one time."""
    if not len(q_bl) or not len(k_bs):
        return _Extent(0, 0, None)
    first_b = k_bs[:, 0] - q_bl[:, 0]
    is_run = (q_bl.diff() == 1).all() & (k_bs.diff() == 1).all() & (first_b == first_b[0]).all()
    low, high = (k_bs.amin(1) - q_bl.amax(1)).min(), (k_bs.amax(1) - q_bl.amin(1)).max()
    least, most, first, run = torch.stack([low, high, first_b[0], is_run.to(low.dtype)]).tolist()
    return _Extent(least, most, first if run else None)
