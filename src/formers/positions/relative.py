"""Positions that relate queries to keys: by the distance between them, and by what both hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from formers.ops import DistanceTerms, Relation
from formers.part import SharingModule
from formers.positions.distances import Distances

_LARGEST_TABLE = 512
"""Entries of a table whose terms may be made for every query, where a kernel reads them pair by pair."""


class RelationalPosition(SharingModule):
    """A position that relates queries and keys: it may see both, change scores in any way, and add to the output.

    The relation holds tensors and never the module: what it computes again in a backward pass is what it computed.
    """

    def forward(self, q_positions_bl: Tensor, k_positions_bs: Tensor) -> Relation:
        """Return how queries and keys at these positions, (B or 1, L) and (B or 1, S), are related."""
        raise NotImplementedError


class RelativePosition(RelationalPosition):
    """A relational position that adds to scores: mixers that look at chosen pairs only take it, too."""

    def forward(self, q_positions_bl: Tensor, k_positions_bs: Tensor) -> RelativeScores:
        raise NotImplementedError


class RelativeScores(Relation):
    """What a relative position adds to the score of every pair."""

    def bias(self, q_bhlk: Tensor, k_bgsk: Tensor, start: int) -> Tensor:
        """Return what is added to the scores of queries from `start` on with these keys, (B or 1, H or 1, l, s)."""
        raise NotImplementedError

    def at(self, q_positions_bl: Tensor, k_positions_bs: Tensor) -> RelativeScores:
        """Return the same for others among these queries and keys."""
        raise NotImplementedError

    def depends_on(self, q_bhlk: Tensor, k_bgsk: Tensor) -> tuple[Tensor, ...]:
        """Return every tensor that is read, these queries and keys among them, and may want a gradient."""
        raise NotImplementedError

    @property
    def is_pairwise(self) -> bool:
        """True if `of_pair` is defined."""
        return False

    def of_pair(self, q_bhlk: Tensor) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
        """Return `of_pair(b, h, q, distance)`, what is added to the score of a query and a key at a distance j − i.

        All are indices that broadcast, q a place in `q_bhlk`.
        """
        raise NotImplementedError

    def scores(self, s_bhls: Tensor, q_bhlk: Tensor, k_bgsk: Tensor, start: int) -> Tensor:
        return s_bhls.add_(self.bias(q_bhlk, k_bgsk, start))


@dataclass(frozen=True, eq=False)
class TableScores(RelativeScores):
    """Terms read from a table that has an entry for each distance, made once for all pairs.

    Attributes:
        distances: those of the pairs.
        table_hn: what belongs to each distance, (H or 1, n, …): here the terms themselves.
    """

    distances: Distances
    table_hn: Tensor

    def terms(self, q_bhlk: Tensor, table_hn: Tensor) -> Tensor:
        """Return the term of every query for some distances, (B or 1, H or 1, l, n), given their part of the table."""
        return table_hn.unsqueeze(1).expand(-1, q_bhlk.shape[2], -1).unsqueeze(0)

    def bias(self, q_bhlk: Tensor, k_bgsk: Tensor, start: int) -> Tensor:
        rows, keys = q_bhlk.shape[2], k_bgsk.shape[2]
        window = self.distances.window(start, rows, keys)
        return self.distances.spread(self.terms(q_bhlk, self.table_hn[:, window]), start, keys)

    @property
    def is_pairwise(self) -> bool:
        return self.distances.high - self.distances.low < _LARGEST_TABLE

    def of_pair(self, q_bhlk: Tensor) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
        low, high, table_hn = self.distances.low, self.distances.high, self.table_hn
        if table_hn.dim() == 2:
            heads = int(len(table_hn) > 1)
            return lambda b, h, q, distance: table_hn[h * heads, distance.clamp(low, high) - low]
        terms_bhln = self.terms(q_bhlk, table_hn)
        return lambda b, h, q, distance: terms_bhln[b, h, q, distance.clamp(low, high) - low]

    def at(self, q_positions_bl: Tensor, k_positions_bs: Tensor) -> TableScores:
        distances, part = self.distances.at(q_positions_bl, k_positions_bs)
        return replace(self, distances=distances, table_hn=self.table_hn[:, part])

    def by_distance(self, q_bhlk: Tensor) -> DistanceTerms | None:
        first = self.distances.first
        return None if first is None else self.as_terms(q_bhlk, first)

    def as_terms(self, q_bhlk: Tensor, first: int) -> DistanceTerms:
        """Return the same as terms by distance, given that of the first key from the first query."""
        return DistanceTerms(first, self.distances.low, added_hn=self.table_hn)

    def depends_on(self, q_bhlk: Tensor, k_bgsk: Tensor) -> tuple[Tensor, ...]:
        return (q_bhlk, k_bgsk, self.table_hn)


def scaled_products(q_bhlk: Tensor, table_hnk: Tensor) -> Tensor:
    """Return q·t_n/√K of every query with every entry of a table, (B, H, l, n)."""
    return scaled(q_bhlk) @ table_hnk.mT.to(q_bhlk.dtype)


def scaled(q_bhlk: Tensor) -> Tensor:
    """Return q/√K."""
    return q_bhlk * q_bhlk.shape[3] ** -0.5
