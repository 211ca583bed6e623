"""A KV cache of a fixed number of places, into which tokens are put one by one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import pad

from formers.mixers.kv_cache import KeyValueState
from formers.mixers.sparse_state import take_tokens
from formers.ops import is_free_to_read, packing
from formers.part import State

_ALIGNED = 8
"""Places are a multiple of this, as fused kernels want score masks."""


@dataclass(frozen=True)
class StaticKeyValueState(State):
    """The real tokens of each row at its front, and free places behind them: the next one goes to place `seen_b`.

    No shape depends on how many tokens there are, and no number of it is read: `with_token` is the same work for each.
    """

    k_bgsk: Tensor
    "Keys, (B, G, S, K), of S places."
    v_bgsv: Tensor | None
    "Values, (B, G, S, V); None where the keys are the values."
    positions_bs: Tensor | None = None
    "Position of each key, (B, S), where scores depend on it."

    def with_token(
        self, k_bg1k: Tensor, v_bg1v: Tensor | None, *, mask_b1: Tensor | None, positions_b1: Tensor | None
    ) -> StaticKeyValueState:
        """Return the state after one token of each row; padding is put into a place that the next token takes.

        Raise ValueError where no place is free, on a CPU; a GPU, which is not waited for, ends the process.
        """
        places = self.k_bgsk.shape[2]
        if is_free_to_read(self.seen_b) and bool((self.seen_b >= places).any()):
            raise ValueError(
                f"the cache was made for {places} tokens, and a row has had as many; make it for more (max_length)"
            )
        v, positions = self.v_bgsv, self.positions_bs
        if positions is not None and positions_b1 is not None:
            rows = torch.arange(len(positions), device=positions.device)
            positions = positions.index_put((rows, self.seen_b), positions_b1.expand(len(rows), 1)[:, 0])
        return replace(
            self,
            seen_b=self.seen_b + (1 if mask_b1 is None else mask_b1[:, 0].long()),
            k_bgsk=put_token(self.k_bgsk, k_bg1k, self.seen_b),
            v_bgsv=None if v is None or v_bg1v is None else put_token(v, v_bg1v, self.seen_b),
            positions_bs=positions,
        )

    def reset(self, rows_b: Tensor) -> Self:
        return replace(self, seen_b=self.seen_b.masked_fill(rows_b, 0))

    def taken_bs(self) -> Tensor:
        """Return which places hold a token, (B, S); the first counts as one where a row has none."""
        places = torch.arange(self.k_bgsk.shape[2], device=self.seen_b.device)
        return places < self.seen_b.clamp(min=1).unsqueeze(1)

    def all_taken(self, dtype: torch.dtype) -> KeyValueState:
        """Return the keys and values of all places in a dtype, without telling which are free."""
        v = None if self.v_bgsv is None else self.v_bgsv.to(dtype)
        return KeyValueState(self.seen_b, self.k_bgsk.to(dtype), v, None, self.positions_bs)

    def growing(self) -> KeyValueState:
        """Return the state as one that grows, to go on from with several tokens at once."""
        places = torch.arange(self.k_bgsk.shape[2], device=self.seen_b.device)
        real_bs = places < self.seen_b.unsqueeze(1)
        return KeyValueState(self.seen_b, self.k_bgsk, self.v_bgsv, real_bs, self.positions_bs)


def static_keys_values(state: KeyValueState, length: int) -> StaticKeyValueState:
    """Return the state with places for `length` tokens of each row, padding left out.

    Raise ValueError if a row has more already.
    """
    k, v, positions_bs = state.k_bgsk, state.v_bgsv, state.positions_bs
    positions_bs = None if positions_bs is None else positions_bs.expand(len(k), -1)
    if state.mask_bs is not None:
        pack = packing(state.mask_bs)
        empty_bs = torch.arange(k.shape[2], device=k.device) >= pack.length_b.unsqueeze(1)
        k, v = take_tokens(k, pack.source_bl, empty_bs), None if v is None else take_tokens(v, pack.source_bl, empty_bs)
        positions_bs = None if positions_bs is None else positions_bs.gather(1, pack.source_bl)
    check_fits(state.seen_b, length)
    places = -(-length // _ALIGNED) * _ALIGNED
    return StaticKeyValueState(
        state.seen_b,
        _in_places(k, places),
        None if v is None else _in_places(v, places),
        None if positions_bs is None else _in_places(positions_bs.unsqueeze(-1), places).squeeze(-1),
    )


def check_fits(seen_b: Tensor, length: int) -> None:
    """Raise ValueError if a row has had more than `length` tokens."""
    if not seen_b.is_meta and (most := int(seen_b.max())) > length:
        raise ValueError(f"the cache was asked for {length} tokens, but {most} have come already; make it for more")


def put_token(t_bgsk: Tensor, new_bg1k: Tensor, place_b: Tensor) -> Tensor:
    """Return (B, G, S, K) with a token of each row at its place; compilers do it in place where nothing else reads."""
    rows, heads = (torch.arange(n, device=place_b.device) for n in t_bgsk.shape[:2])
    return t_bgsk.index_put((rows[:, None], heads, place_b[:, None]), new_bg1k[:, :, 0].to(t_bgsk.dtype))


def _in_places(t: Tensor, places: int) -> Tensor:
    """Return (…, S, K) with the first `places` of S, or zeros behind them up to as many."""
    return pad(t[..., :places, :], (0, 0, 0, max(places - t.shape[-2], 0)))
