"""The KV cache of attention over all keys: it grows with the length."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor

from formers.mixers.context import seen_after
from formers.part import State

_TAKING = threading.Lock()


@dataclass(eq=False)
class CacheStorage:
    """Storage with space to spare behind the keys. Only the state that ends at `used` may write on without a copy."""

    tensor: Tensor
    used: int

    def take(self, start: int, stop: int) -> bool:
        """Take the places from `start` to `stop` to write there; return whether they were free, and there are as many.

        Of threads that go on from one state, one gets them.
        """
        if torch.compiler.is_compiling():  # no graph has a lock
            return self._take(start, stop)
        with _TAKING:
            return self._take(start, stop)

    def _take(self, start: int, stop: int) -> bool:
        if self.used != start or self.tensor.shape[2] < stop:
            return False
        self.used = stop
        return True


@dataclass(frozen=True)
class KeyValueState(State):
    """Every key and value so far.

    Appending costs time in the new tokens only: the tensors are views of storage that doubles when it is full. States
    stay values all the same. Only the longest state of a storage writes on in place; any other one copies first.
    """

    k_bgsk: Tensor
    "Keys, (B, G, S, K)."
    v_bgsv: Tensor | None
    "Values, (B, G, S, V); None where the keys are the values."
    mask_bs: Tensor | None = None
    "Which keys are real tokens, (B, S); None = all."
    positions_bs: Tensor | None = None
    "Position of each key, (B or 1, S), where scores depend on it."
    storages: tuple[CacheStorage | None, CacheStorage | None] = field(default=(None, None), repr=False, compare=False)

    @property
    def values(self) -> Tensor:
        """The values: the keys themselves where those are kept once."""
        return self.k_bgsk if self.v_bgsv is None else self.v_bgsv

    def taken_bs(self) -> Tensor:
        """Return which keys are real tokens, (B, S); the last counts as one, so that no row is without any."""
        real_bs = _all_real(self.k_bgsk, self.mask_bs)
        return torch.cat([real_bs[:, :-1], torch.ones_like(real_bs[:, -1:])], 1)

    def all_taken(self, dtype: torch.dtype) -> KeyValueState:
        """Return the same keys and values in a dtype, without telling which are real tokens."""
        v = None if self.v_bgsv is None else self.v_bgsv.to(dtype)
        return replace(self, k_bgsk=self.k_bgsk.to(dtype), v_bgsv=v, mask_bs=None)

    def changed(self, of_tensor: Callable[[Tensor], Tensor], of_state: Callable[[State], State]) -> Self:
        return replace(super().changed(of_tensor, of_state), storages=(None, None))

    def reorder(self, rows: Tensor) -> Self:
        if self.positions_bs is None or len(self.positions_bs) > 1:
            return super().reorder(rows)
        apart = replace(self, positions_bs=None)  # positions that all rows share stay as they are
        return replace(State.reorder(apart, rows), positions_bs=self.positions_bs)

    def reset(self, rows_b: Tensor) -> Self:
        mask_bs = _all_real(self.k_bgsk, self.mask_bs) & ~rows_b.unsqueeze(1)
        return replace(self, seen_b=self.seen_b.masked_fill(rows_b, 0), mask_bs=mask_bs)

    def trim(self, count_b: Tensor) -> Self:
        """Forget the last `count_b` real tokens of each row: what all rows forget is cut off, the rest is masked."""
        length = self.k_bgsk.shape[2]
        mask_bs = (
            self.mask_bs if self.mask_bs is not None else torch.ones_like(self.k_bgsk[:, 0, :, 0], dtype=torch.bool)
        )
        from_end_bs = mask_bs.long().flip(-1).cumsum(-1).flip(-1)
        mask_bs = mask_bs & (from_end_bs > count_b.unsqueeze(-1))
        keep = int((mask_bs.any(0).long() * torch.arange(1, length + 1, device=mask_bs.device)).max()) if length else 0
        return replace(
            self,
            seen_b=self.seen_b - count_b.clamp(max=self.seen_b),
            k_bgsk=self.k_bgsk[:, :, :keep],
            v_bgsv=None if self.v_bgsv is None else self.v_bgsv[:, :, :keep],
            mask_bs=None if bool(mask_bs[:, :keep].all()) else mask_bs[:, :keep],
            positions_bs=None if self.positions_bs is None else self.positions_bs[:, :keep],
            storages=(None, None),
        )


def append(
    state: State | None,
    k: Tensor,
    v: Tensor | None,
    *,
    mask_bl: Tensor | None,
    positions_bl: Tensor | None,
) -> KeyValueState:
    """Return the state after these keys (B, G, L, K) and values (B, G, L, V).

    Pass `positions_bl` only where scores depend on positions.
    """
    seen_b = seen_after(k[:, 0], mask_bl, state)
    if state is None:
        return KeyValueState(seen_b, k, v, mask_bl, positions_bl)
    assert isinstance(state, KeyValueState), f"expected a KeyValueState, but {type(state).__name__} was given"
    all_k, k_storage = grow(state.k_bgsk, state.storages[0], k)
    all_v, v_storage = (None, None) if v is None or state.v_bgsv is None else grow(state.v_bgsv, state.storages[1], v)
    mask_bs = None
    if mask_bl is not None or state.mask_bs is not None:
        mask_bs = torch.cat([_all_real(state.k_bgsk, state.mask_bs), _all_real(k, mask_bl)], 1)
    positions_bs = None
    if positions_bl is not None and state.positions_bs is not None:
        positions_bs = torch.cat(same_rows(state.positions_bs, positions_bl), 1)
    return KeyValueState(seen_b, all_k, all_v, mask_bs, positions_bs, (k_storage, v_storage))


def same_rows(*positions: Tensor) -> list[Tensor]:
    """Return positions of tokens behind each other with one row each, if all rows share them, or one for each."""
    if len(positions) == 1:
        return list(positions)
    rows = next((len(one) for one in positions if len(one) != 1), 1)
    return [one.expand(rows, -1) for one in positions]


def _all_real(k_bgsk: Tensor, mask_bs: Tensor | None) -> Tensor:
    return k_bgsk.new_ones((k_bgsk.shape[0], k_bgsk.shape[2]), dtype=torch.bool) if mask_bs is None else mask_bs


def grow(old: Tensor, storage: CacheStorage | None, new: Tensor) -> tuple[Tensor, CacheStorage | None]:
    """Return `old` followed by `new` along the length, in place where `old` ends its storage and that has space.

    Both in the dtype of `new`: a state made outside of autocast may go on under it, and the other way round.
    """
    if old.dtype != new.dtype:
        old, storage = old.to(new.dtype), None
    if torch.is_grad_enabled() and (old.requires_grad or new.requires_grad):
        return torch.cat([old, new], 2), None
    start, stop = old.shape[2], old.shape[2] + new.shape[2]
    if storage is None or not storage.take(start, stop):
        if torch.compiler.is_compiling():
            return torch.cat([old, new], 2), None
        storage = CacheStorage(_longer(old, max(2 * stop, 32)), stop)
    storage.tensor.narrow(2, start, stop - start).copy_(new)
    return storage.tensor.narrow(2, 0, stop), storage


def _longer(old: Tensor, size: int) -> Tensor:
    """Return a tensor for `size` tokens that begins with the old ones."""
    tensor = old.new_empty((*old.shape[:2], size, old.shape[3]))
    tensor.narrow(2, 0, old.shape[2]).copy_(old)
    return tensor
