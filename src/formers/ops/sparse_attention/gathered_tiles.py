"""The work of gathered attention in tiles whose scores stay in the cache of a CPU."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from formers.ops.common.row_index import RowIndex
from formers.ops.sparse_attention.block_lists import BlockGroup, BlockLists
from formers.ops.sparse_attention.pair_bias import PairBias

_SCORES_AT_ONCE = 1 << 19
"""Scores in a tile on a CPU, so that they stay in its cache. Other devices take 256 times as many."""


@dataclass(frozen=True, eq=False)
class GatherPlan:
    """A call of gathered attention, apart from its tensors.

    Attributes:
        lists: block lists, and the heads that have them.
        scale: factor of the scores.
        bias: added to the scores, or None.
        with_lse: True if the log-sum-exp of the scores is wanted beside y.
    """

    lists: tuple[tuple[BlockLists, tuple[int, ...]], ...]
    scale: float
    bias: PairBias | None
    with_lse: bool = False


class GatherTile(NamedTuple):
    """Some blocks of a group for some heads of some sequences.

    Attributes:
        group: the blocks.
        n: which of them.
        batch, heads: sequences of the batch, and heads of each.
    """

    group: BlockGroup
    n: slice
    batch: range
    heads: Sequence[int]

    @property
    def queries(self) -> RowIndex:
        """The queries of the tile."""
        return RowIndex(self.batch, self.heads, self.group.q_nl[self.n], _later(self.group.q_runs, self.n.start))

    def sizes(self) -> tuple[int, ...]:
        """Return all that the tile's operations depend on."""
        count, keys = self.group.k_ns[self.n].shape
        return count, self.group.q_nl.shape[1], keys, len(self.batch), len(self.heads)

    def keys(self, sharing: int) -> RowIndex:
        """Return the keys of the tile, where `sharing` query heads share one key/value head."""
        heads = self.heads if sharing == 1 else [head // sharing for head in self.heads]
        return RowIndex(self.batch, heads, self.group.k_ns[self.n], _later(self.group.k_runs, self.n.start))

    def mask_of_keys(self, mask_bs: Tensor) -> Tensor:
        """Return what a mask says of the tile's keys, (batch·heads, n, s)."""
        found = mask_bs[self.batch.start : self.batch.stop, self.group.k_ns[self.n]]
        return found.repeat_interleave(len(self.heads), 0)


def gather_tiles(plan: GatherPlan, q: Tensor, whole: bool = False) -> Iterator[GatherTile]:
    """Yield everything there is to compute, in tiles; with `whole`, in as few as there can be.

    All heads are in one tile where that is possible: they are neighbours in memory.
    """
    most = _SCORES_AT_ONCE if q.device.type in ("cpu", "meta") else 256 * _SCORES_AT_ONCE
    for lists, heads in plan.lists:
        for group in lists.groups:
            count, queries = group.q_nl.shape
            fitting = sys.maxsize if whole else most // (queries * group.k_ns.shape[1])  # copies of a block
            single = group.k_runs is not None and count >= fitting // 2  # so many lists of one head are views
            step_h = 1 if single else max(min(len(heads), fitting), 1)
            step_n = max(min(count, fitting // step_h), 1)
            step_b = max(min(len(q), fitting // (step_h * step_n)), 1) if plan.bias is None else 1  # asked one by one
            for b, h, n in itertools.product(
                range(0, len(q), step_b), range(0, len(heads), step_h), range(0, count, step_n)
            ):
                batch, some = range(b, min(b + step_b, len(q))), heads[h : h + step_h]
                yield GatherTile(group, slice(n, n + step_n), batch, some)


def _later(runs: tuple[int, int] | None, count: int) -> tuple[int, int] | None:
    """Return the runs from list `count` on."""
    return None if runs is None else (runs[0] + count * runs[1], runs[1])
