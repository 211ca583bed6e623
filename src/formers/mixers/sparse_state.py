"""The streaming state of attention over a pattern: the keys that a later query may see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import pad

from formers.part import State
from formers.patterns import Pattern

_TAKEN_AT_ONCE = 1 << 12
"""Keys that a state has storage for before there are so many."""


@dataclass(frozen=True)
class SparseState(State):
    """The keys and values that a later query may see."""

    k_bgsk: Tensor
    "Keys, (B, G, S, K)."
    v_bgsv: Tensor
    "Values, (B, G, S, V)."
    index_bs: Tensor
    "The token that each belongs to, counted without padding, (B, S); −1 where there is none."
    positions_bs: Tensor | None = None
    "Position of each, (B, S), where scores depend on it."

    def followed_by(self, later: SparseState) -> SparseState:
        """Return the state with the tokens of a later one behind its own, in the dtype of those."""
        positions_bs = None
        if self.positions_bs is not None and later.positions_bs is not None:
            positions_bs = torch.cat([self.positions_bs, later.positions_bs], 1)
        k_bgsk = torch.cat([self.k_bgsk.to(later.k_bgsk.dtype), later.k_bgsk], 2)
        v_bgsv = torch.cat([self.v_bgsv.to(later.v_bgsv.dtype), later.v_bgsv], 2)
        return SparseState(later.seen_b, k_bgsk, v_bgsv, torch.cat([self.index_bs, later.index_bs], 1), positions_bs)

    def forget(self, patterns: Sequence[Pattern], capacity: int | None) -> SparseState:
        """Return the state with the keys that later queries see, the latest last, in storage of constant size.

        A large capacity is not taken at once, but as tokens come. Everything is kept where the patterns set no limit
        (`capacity` None).
        """
        return self if capacity is None else self.keep(recalled(patterns, self.index_bs, self.seen_b), capacity)

    def latest(self, count: int) -> SparseState:
        """Return the state with its last `count` keys."""
        k, v, index_bs, positions_bs = self.k_bgsk, self.v_bgsv, self.index_bs, self.positions_bs
        positions_bs = None if positions_bs is None else positions_bs[:, -count:]
        return SparseState(self.seen_b, k[:, :, -count:], v[:, :, -count:], index_bs[:, -count:], positions_bs)

    def keep(self, wanted_bs: Tensor, capacity: int) -> Self:
        """Return the state with the keys that are wanted, (B, S), the latest last, `capacity` at most."""
        return self.filled(wanted_bs, min(capacity, max(self.index_bs.shape[1], _TAKEN_AT_ONCE)))

    def filled(self, wanted_bs: Tensor, capacity: int) -> Self:
        """Return the state with exactly `capacity` places: the latest keys that are wanted, (B, S), behind empty
        ones."""
        index_bs = self.index_bs.masked_fill(~wanted_bs, -1)
        missing = max(capacity - index_bs.shape[1], 0)
        index_bs, source_bs = (t.flip(1) for t in pad(index_bs, (missing, 0), value=-1).topk(capacity, 1))
        source_bs = (source_bs - missing).clamp(min=0)
        empty_bs, positions_bs = index_bs < 0, self.positions_bs
        return replace(
            self,
            k_bgsk=take_tokens(self.k_bgsk, source_bs, empty_bs),
            v_bgsv=take_tokens(self.v_bgsv, source_bs, empty_bs),
            index_bs=index_bs,
            positions_bs=None if positions_bs is None else positions_bs.gather(1, source_bs).masked_fill(empty_bs, 0),
        )


def capacity_for(patterns: Sequence[Pattern]) -> int | None:
    """Return how many keys a state must hold at most; None without a limit."""
    sizes = [one.memory() for one in set(patterns)]
    return None if None in sizes else sum(size for size in sizes if size is not None)


def take_tokens(t_bgsk: Tensor, source_bl: Tensor, empty_bl: Tensor) -> Tensor:
    """Return the tokens of (B, G, S, K) at `source_bl`, (B, G, L, K); zeros where `empty_bl`."""
    if not t_bgsk.shape[2]:
        return t_bgsk.new_zeros(*t_bgsk.shape[:2], source_bl.shape[1], t_bgsk.shape[3])
    taken = t_bgsk.gather(2, source_bl[:, None, :, None].expand(-1, t_bgsk.shape[1], -1, t_bgsk.shape[3]))
    return taken.masked_fill(empty_bl[:, None, :, None], 0)


def recalled(patterns: Sequence[Pattern], index_bs: Tensor, next_b: Tensor) -> Tensor:
    """Return which keys a query from `next_b` on sees in any head, (B, S)."""
    found_bs = torch.zeros_like(index_bs, dtype=torch.bool)
    for one in patterns:
        found_bs = found_bs | one.recalled(index_bs, next_b.unsqueeze(1))
    return found_bs
