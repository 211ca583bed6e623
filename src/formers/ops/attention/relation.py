"""Attention in which pairs of tokens are related by more than a number added to their score."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from formers.ops.attention.distance_terms import DistanceTerms


class Relation:
    """How queries and keys are related beside q·k: it may see both, change scores in any way, and add to the output.

    Attention then forms its weights, for one block of query rows at a time: queries `start … start + l − 1` and the
    first s keys. All methods must return the same when they are called again for the backward pass. Here, nothing is
    changed.
    """

    def queries(self, q_bhlk: Tensor) -> Tensor:
        """Return the queries that meet the keys, (B, H, l, K)."""
        return q_bhlk

    def scores(self, s_bhls: Tensor, q_bhlk: Tensor, k_bgsk: Tensor, start: int) -> Tensor:
        """Return the scores (B, H, l, s), given q·k·scale, the block's queries (B, H, l, K) and keys (B, G, s, K).

        The products are of what `queries` returns; the queries given here are as they were.

        The given scores may be changed in place, and those returned will be, where pairs are hidden: they must be no
        tensor that a backward pass needs, as the result of `exp` would be.
        """
        return s_bhls

    def outputs(self, w_bhls: Tensor, start: int) -> Tensor | None:
        """Return what is added to Σ_j w_ij v_j, (B, H, l, V), given the weights (B, H, l, s); None for nothing."""
        return None

    def added_rows(self) -> Callable[[int, int], Tensor] | None:
        """Return `bias(start, stop)` if the relation only adds what no gradient is wanted of: fused kernels take it.

        It makes the rows `start … stop − 1`, (B or 1, H or 1, stop − start, S). None for all other relations.
        """
        return None

    def by_distance(self, q_bhlk: Tensor) -> DistanceTerms | None:
        """Return `scores` and `outputs` for all queries, (B, H, L, K), as terms by distance, which are faster on a CPU.

        None where they are no such terms, or distances are not the same along all diagonals.
        """
        return None
