"""Positions that enter the scores through the distance of query and key, and may ask for both."""

from __future__ import annotations

from torch import Tensor

from formers.ops import Relation
from formers.part import SharingModule, weights_of
from formers.positions.distances import Distances


class RelationalPosition(SharingModule):
    """A position that relates queries and keys: it may see both, change scores in any way, and add to the output."""

    def forward(self, q_positions_bl: Tensor, k_positions_bs: Tensor) -> Relation:
        """Return how queries and keys at these positions, (B or 1, L) and (B or 1, S), are related."""
        raise NotImplementedError


class RelativePosition(RelationalPosition):
    """A term of the scores for each distance j − i: a table of all distances, made once, and read by every pair.

    A subclass defines `embed`, and where they differ from what is here, `terms` and the others.
    """

    reach: int | None = None
    "Distances beyond it count as this one; None for no limit."

    def embed(self, distance_n: Tensor) -> Tensor:
        """Return what belongs to each distance, (H or 1, n, …)."""
        raise NotImplementedError

    def terms(self, q_bhlk: Tensor, embedded_hn: Tensor) -> Tensor:
        """Return the term of every query for every distance, (B or 1, H or 1, l, n), given `embed` of them."""
        return embedded_hn.unsqueeze(1).expand(-1, q_bhlk.shape[2], -1).unsqueeze(0)

    def terms_of_keys(self, k_bgsk: Tensor) -> Tensor | None:
        """Return a term of every key, whatever its distance, (B, H, 1, s); None without one."""
        return None

    def values(self, distance_n: Tensor) -> Tensor | None:
        """Return what is added to the value of a key at each distance, (n, V); None for nothing."""
        return None

    def forward(self, q_positions_bl: Tensor, k_positions_bs: Tensor) -> RelativeScores:
        distances = Distances.between(q_positions_bl, k_positions_bs, self.reach)
        return TableScores(self, distances, self.embed(distances.all()))


class RelativeScores(Relation):
    """What a relative position adds to the score of every pair.

    Attributes:
        depends_on: every tensor beside queries and keys that is read, and may want a gradient.
    """

    depends_on: tuple[Tensor, ...]

    def bias(self, q_bhlk: Tensor, k_bgsk: Tensor, start: int) -> Tensor:
        """Return what is added to the scores of queries from `start` on with these keys, (B or 1, H or 1, l, s)."""
        raise NotImplementedError

    def at(self, q_positions_bl: Tensor, k_positions_bs: Tensor) -> RelativeScores:
        """Return the same for others among these queries and keys."""
        raise NotImplementedError

    def scores(self, s_bhls: Tensor, q_bhlk: Tensor, k_bgsk: Tensor, start: int) -> Tensor:
        return s_bhls + self.bias(q_bhlk, k_bgsk, start)


class TableScores(RelativeScores):
    """The terms of all pairs, read from a table of distances.

    Attributes:
        position: the module that makes the terms.
        distances: those of the pairs.
        embedded_hn: `position.embed` of all distances in the table.
    """

    def __init__(self, position: RelativePosition, distances: Distances, embedded_hn: Tensor):
        self.position, self.distances, self.embedded_hn = position, distances, embedded_hn
        self.depends_on = (embedded_hn, *weights_of(position))

    def at(self, q_positions_bl: Tensor, k_positions_bs: Tensor) -> TableScores:
        return TableScores(self.position, self.distances.at(q_positions_bl, k_positions_bs), self.embedded_hn)

    def bias(self, q_bhlk: Tensor, k_bgsk: Tensor, start: int) -> Tensor:
        terms_bhln = self.position.terms(q_bhlk, self.embedded_hn)
        bias_bhls = self.distances.spread(terms_bhln, start, k_bgsk.shape[2])
        of_keys_bh1s = self.position.terms_of_keys(k_bgsk)
        return bias_bhls if of_keys_bh1s is None else bias_bhls + of_keys_bh1s

    def outputs(self, w_bhls: Tensor, start: int) -> Tensor | None:
        values_nv = self.position.values(self.distances.all())
        return None if values_nv is None else self.distances.collect(w_bhls, start) @ values_nv.to(w_bhls.dtype)
