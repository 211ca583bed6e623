"""Terms of scores and outputs that depend on the distance between a query and a key."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class DistanceTerms:
    """Terms s_ij += c_i·a_d + b_d and y_i += Σ_j w_ij u_d, d the distance of key j from query i, d = j − i + first.

    Tables have an entry for each distance from `low` on; distances outside share the entry at that end.

    Attributes:
        first: the distance of the first key from the first query.
        low: the distance of the tables' first entry.
        queries_bhlc, keys_hnc: c, (B, H, L, C), and a, (H or 1, n, C); None for no such term.
        added_hn: b, (H or 1, n); None for no such term.
        values_hnv: u, (H or 1, n, V); None for no such term.
        window: True hides all keys at distances outside of the tables.
    """

    first: int
    low: int
    queries_bhlc: Tensor | None = None
    keys_hnc: Tensor | None = None
    added_hn: Tensor | None = None
    values_hnv: Tensor | None = None
    window: bool = False

    @property
    def tables(self) -> list[Tensor]:
        """The tables that there are."""
        return [t for t in (self.keys_hnc, self.added_hn, self.values_hnv) if t is not None]

    @property
    def high(self) -> int:
        """The distance of the tables' last entry."""
        return self.low + self.tables[0].shape[1] - 1

    def visible(self, rows: int, keys: int, *, causal: bool) -> Visible:
        """Return which distances are seen among so many queries and keys."""
        least, most = self.first - (rows - 1), self.first + keys - 1
        most = min(most, self.first + keys - rows) if causal else most
        return Visible(max(least, self.low), min(most, self.high)) if self.window else Visible(least, most)

    def fitted(self, seen: Visible) -> tuple[DistanceTerms, Tensor | None]:
        """Return the same weights from tables that end where what is seen does, and what is added to every output.

        Where some distances lie before the tables, their entry is taken off all others: what it adds to a query's
        scores is the same for all of its keys, which no weight depends on. So they have no term any more.
        """
        before = seen.least < self.low
        start = max(seen.least, self.low)

        def fit(table_hnx: Tensor) -> Tensor:
            size = max(seen.most + 1 - start, 0)
            if seen.most <= self.high:
                part_hnx = table_hnx.narrow(1, min(start - self.low, table_hnx.shape[1] - size), size)
            else:
                entries = torch.arange(start, start + size, device=table_hnx.device) - self.low
                part_hnx = table_hnx.index_select(1, entries.clamp(0, table_hnx.shape[1] - 1))
            return part_hnx - table_hnx[:, :1] if before else part_hnx

        keys, added, values = (None if t is None else fit(t) for t in (self.keys_hnc, self.added_hn, self.values_hnv))
        always = self.values_hnv[:, :1] if before and self.values_hnv is not None else None
        return replace(self, low=start, keys_hnc=keys, added_hn=added, values_hnv=values), always


class Visible(NamedTuple):
    """The least and the largest distance at which a query sees a key."""

    least: int
    most: int
