"""Distances between queries and keys, and tables of one entry for each of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad


@dataclass(frozen=True)
class Distances:
    """The distances j − i of queries at i and keys at j, of which a table holds one entry each, from `low` to `high`.

    Distances outside share the entry at that end. Where queries and keys both stand at consecutive positions, row i of
    the scores is a stretch of the table that moves by one from row to row: a view of memory, with nothing gathered.

    Attributes:
        q_bl, k_bs: positions of queries (B or 1, L) and keys (B or 1, S).
        low, high: the first and the last distance in the table.
        first: k_0 − q_0 if both are runs of consecutive positions, the same for every sequence; None if not.
    """

    q_bl: Tensor
    k_bs: Tensor
    low: int
    high: int
    first: int | None

    @classmethod
    def between(cls, q_bl: Tensor, k_bs: Tensor, reach: int | None) -> Distances:
        """Return the distances of these positions; with a `reach`, those beyond ± reach share an entry.

        Reads the positions on the host. Raise ValueError without a reach where a table is `out_of_question`.
        """
        if reach is None and out_of_question(q_bl, k_bs):
            raise ValueError("a table of distances without a reach needs positions that can be read, and lie together")
        if reach is not None and _hidden_from_host(q_bl):
            return cls(q_bl, k_bs, -reach, reach, None)
        low, high = _ends(q_bl, k_bs)
        if reach is not None:
            low, high = min(max(low, -reach), reach), min(max(high, -reach), reach)
        first = int(k_bs[0, 0] - q_bl[0, 0]) if _is_run(q_bl) and _is_run(k_bs) else None
        return cls(q_bl, k_bs, low, high, first)

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

    def at(self, q_bl: Tensor, k_bs: Tensor) -> Distances:
        """Return the same table for other queries and keys, which are at no greater distances."""
        return Distances(q_bl, k_bs, self.low, self.high, None)

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


def out_of_question(q_bl: Tensor, k_bs: Tensor) -> bool:
    """Return whether no table of all distances can be made.

    Their number is not known where positions cannot be read, and has no end where they lie far apart, as position ids
    may: at most four entries for each query and key are allowed.
    """
    if _hidden_from_host(q_bl):
        return True
    low, high = _ends(q_bl, k_bs)
    return high - low >= 4 * (q_bl.shape[1] + k_bs.shape[1])


def _ends(q_bl: Tensor, k_bs: Tensor) -> tuple[int, int]:
    """Return the least and the largest distance."""
    return int(k_bs.min() - q_bl.max()), int(k_bs.max() - q_bl.min())


def _hidden_from_host(positions_bl: Tensor) -> bool:
    """Return whether positions cannot be read here: while a compiler traces, and on the meta device."""
    return torch.compiler.is_compiling() or positions_bl.is_meta


def _is_run(positions_bl: Tensor) -> bool:
    """Return whether positions are consecutive, and the same for every sequence of the batch."""
    return positions_bl.shape[0] == 1 and bool((positions_bl.diff() == 1).all())
