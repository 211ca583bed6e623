"""Faults of states: what they forget, share and let pass."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from planting import Patch, fault, spoiled
from torch import Tensor, nn

from formers.memory import Memorizing
from formers.memory.fifo import Fifo
from formers.mixers import Linear, Softmax, Sparse, static_sparse_state
from formers.mixers import kv_cache as key_value
from formers.mixers import static_kv_cache as static_key_value
from formers.mixers.cached_attention import CachedAttention
from formers.mixers.kv_cache import CacheStorage, KeyValueState
from formers.ops import LinearState
from formers.part import Part, State
from formers.testing import laws


@fault(laws.one_pass_equals_pieces)
def forgets_the_key_sum(patch: Patch) -> Part:
    def forget(y: Tensor, x: Tensor, state: Any, module: nn.Module) -> Any:
        if state is None:
            return y, state
        return y, type(state)(state.seen_b, LinearState(state.sums.s_bhmv, torch.zeros_like(state.sums.z_bhm)))

    return spoiled(Linear(), forget)


@fault(laws.one_pass_equals_pieces)
def keeps_no_state(patch: Patch) -> Part:
    return spoiled(Linear(), lambda y, x, state, module: (y, None))


@fault(laws.gradients_flow_through_states)
def state_without_gradient(patch: Patch) -> Part:
    return spoiled(Linear(), lambda y, x, state, module: (y, state and state.detach()))


@fault(laws.gradients_flow_through_states)
def detach_does_not(patch: Patch) -> Part:
    patch.setattr(State, "detach", lambda self: self)
    return Linear()


@fault(laws.state_is_a_value)
def branches_share_storage(patch: Patch) -> Part:
    def grow(old: Tensor, storage: CacheStorage | None, new: Tensor) -> tuple[Tensor, CacheStorage | None]:
        start, stop = old.shape[2], old.shape[2] + new.shape[2]
        if storage is None:
            storage = CacheStorage(old.new_empty(*old.shape[:2], 256, old.shape[3]), start)
            storage.tensor[:, :, :start] = old
        storage.tensor[:, :, start:stop] = new  # whoever else writes on from here
        return storage.tensor[:, :, :stop], storage

    patch.setattr(key_value, "grow", grow)
    return Softmax()


@fault(laws.state_is_a_value)
def reorder_does_not(patch: Patch) -> Part:
    patch.setattr(State, "reorder", lambda self, rows: self.map(lambda t: torch.cat([t, t])[: len(rows)]))
    return Linear()


@fault(laws.state_is_a_value)
def nbytes_is_wrong(patch: Patch) -> Part:
    patch.setattr(State, "nbytes", property(lambda self: 1))
    return Linear()


@fault(laws.state_is_a_value)
def keeps_what_no_file_holds(patch: Patch) -> Part:
    patch.setattr(Fifo, "apart", lambda self: self)  # with the storage that its keys lie in
    return Memorizing(window=4, size=20, k=4)


@fault(laws.state_is_a_value)
def forgets_how_many_there_were_and_not_what(patch: Patch) -> Part:
    patch.setattr(KeyValueState, "reset", lambda self, rows_b: replace(self, seen_b=self.seen_b.masked_fill(rows_b, 0)))
    return Softmax()


@fault(laws.state_is_a_value)
def rows_begin_anew_early_alone(patch: Patch) -> Part:
    reset = KeyValueState.reset
    patch.setattr(
        KeyValueState,
        "reset",
        lambda self, rows_b: (reset if len(self.tensors()[1][0, 0]) < 9 else State.reset)(self, rows_b),
    )
    return Softmax()


@fault(laws.static_steps_equal_growing_ones)
def puts_every_token_into_the_first_place(patch: Patch) -> Part:
    put = static_key_value.put_token
    patch.setattr(static_key_value, "put_token", lambda t, new, place_b: put(t, new, 0 * place_b))
    return Softmax()


@fault(laws.static_steps_equal_growing_ones)
def static_state_grows_on(patch: Patch) -> Part:
    patch.setattr(CachedAttention, "with_fixed_size", lambda self, state, length: state)
    return Softmax()


@fault(laws.static_steps_equal_growing_ones)
def overwrites_what_it_goes_on_from(patch: Patch) -> Part:
    def put(t: Tensor, new: Tensor, place_b: Tensor) -> Tensor:
        t[:, :, 0] = new[:, :, 0]
        return t

    patch.setattr(static_sparse_state, "put_token", put)
    return Sparse()


@fault(laws.trims_as_promised)
def trims_one_too_few(patch: Patch) -> Part:
    trim = KeyValueState.trim
    patch.setattr(KeyValueState, "trim", lambda self, count_b: trim(self, count_b - 1))
    return Softmax()


@fault(laws.trims_as_promised)
def trims_without_saying_so(patch: Patch) -> Part:
    patch.setattr(State, "trim", lambda self, count_b: self)
    return Linear()
