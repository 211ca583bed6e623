"""The state of attention over a pattern in a fixed number of places: a ring into which tokens are put one by one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from formers.mixers.sparse_state import SparseState
from formers.mixers.static_kv_cache import put_token
from formers.ops import attention
from formers.part import State


@dataclass(frozen=True)
class StaticSparseState(State):
    """Keys and values in a fixed number of places, in any order: which token is where, `index_bs` tells.

    A new token takes the place of one that no later query sees, or an empty one, so that nothing is moved.
    """

    k_bgsk: Tensor
    "Keys, (B, G, S, K), of S places."
    v_bgsv: Tensor
    "Values, (B, G, S, V)."
    index_bs: Tensor
    "The token that each belongs to, counted without padding, (B, S); −1 where there is none."
    positions_bs: Tensor | None = None
    "Position of each, (B, S), where scores depend on it."

    @classmethod
    def of(cls, state: SparseState) -> StaticSparseState:
        """Return the same tokens in the places that they have in a state that grows."""
        return cls(state.seen_b, state.k_bgsk, state.v_bgsv, state.index_bs, state.positions_bs)

    def growing(self) -> SparseState:
        """Return the state as one that grows, to go on from with several tokens at once."""
        return SparseState(self.seen_b, self.k_bgsk, self.v_bgsv, self.index_bs, self.positions_bs)

    def with_token(self, token: SparseState, wanted_bs: Tensor) -> StaticSparseState:
        """Return the state after one token of each row: in an empty place, else that of the first unwanted token.

        Args:
            token: the state of that token alone; padding is index −1.
            wanted_bs: which keys the token and later ones may see, (B, S).

        Raise IndexError where all places are wanted, on a CPU; a GPU, which is not waited for, ends the process.
        """
        index_bs = self.index_bs.masked_fill(~wanted_bs, -1)
        rows, places = torch.arange(len(index_bs), device=index_bs.device), index_bs.shape[1]
        place_b = index_bs.argmin(1).masked_fill(wanted_bs.all(1), places)  # where none is free, writing fails
        positions_bs = self.positions_bs
        if positions_bs is not None and token.positions_bs is not None:
            positions_bs = positions_bs.index_put((rows, place_b), token.positions_bs[:, 0])
        return replace(
            self,
            seen_b=token.seen_b,
            k_bgsk=put_token(self.k_bgsk, token.k_bgsk, place_b),
            v_bgsv=put_token(self.v_bgsv, token.v_bgsv, place_b),
            index_bs=index_bs.index_put((rows, place_b), token.index_bs[:, 0]),
            positions_bs=positions_bs,
        )

    def attended_from(self, q_bh1k: Tensor, seen_bh1s: Tensor, added: Tensor | None) -> Tensor:
        """Return what one query of each row sees in these places, (B, H, 1, V); zeros where it sees none.

        Args:
            q_bh1k: the queries.
            seen_bh1s: which places each sees, (B, 1 or H, 1, S).
            added: added to their scores, or None.
        """
        blind = ~seen_bh1s.any(-1, keepdim=True)
        hidden = torch.zeros_like(seen_bh1s, dtype=q_bh1k.dtype).masked_fill_(~(seen_bh1s | blind), -torch.inf)
        k, v = self.k_bgsk.to(q_bh1k.dtype), self.v_bgsv.to(q_bh1k.dtype)
        y_bh1v = attention(q_bh1k, k, v, bias=hidden if added is None else hidden + added)
        return y_bh1v.masked_fill(blind, 0)
