"""Softmax attention over every key so far, for any projections."""

from __future__ import annotations

from typing import TypeAlias

from torch import Tensor

from formers.mixers.context import Context
from formers.mixers.kv_cache import KeyValueState, append
from formers.mixers.qkv import QKV, HeadMixer
from formers.mixers.score_bias import hidden_pairs, row_bias
from formers.mixers.span_mask import with_score_mask
from formers.mixers.static_kv_cache import StaticKeyValueState, static_keys_values
from formers.ops import Bias, attention
from formers.part import State

KeyValueCache: TypeAlias = KeyValueState | StaticKeyValueState
"""A cache that grows, or one of a fixed number of places."""


class CachedAttention(HeadMixer):
    """softmax(QKᵀ/√K + bias) V over the new keys and those of a KV cache, the bias by the position that acts on scores.

    A subclass has the projections; it may override `attend_to`. Keys that are the values, one tensor in `QKV`, are kept
    once.
    """

    states = (KeyValueState, StaticKeyValueState)

    def attend(self, qkv: QKV, context: Context) -> tuple[Tensor, State | None]:
        cache = self.remember(qkv.k, qkv.v, context)
        return self.look_at(cache, qkv.q, context.positions_bl), cache if self.causal else None

    def mix_rows(self, context: Context, rows: Tensor) -> tuple[Tensor, State]:
        """Return y of some rows and the state of all: the others cost their keys and values."""
        cache = self.remember(*self.keys_values(context), context)
        if not len(rows):
            return context.x_bld[:0], cache
        some, seen = context.rows(rows), cache.reorder(rows)
        return self.finish(self.look_at(seen, self.queries(some), some.positions_bl), some), cache

    def remember(self, k_bglk: Tensor, v_bglv: Tensor, context: Context) -> KeyValueCache:
        """Return the cache after the new keys and values; one of a fixed size grows where several come at once."""
        values = None if v_bglv is k_bglk else v_bglv
        positions_bl = context.positions_bl if self.score_position is not None else None
        state = context.state
        if isinstance(state, StaticKeyValueState):
            if k_bglk.shape[2] == 1:
                return state.with_token(k_bglk, values, mask_b1=context.mask_bl, positions_b1=positions_bl)
            state = state.growing()
        return append(state, k_bglk, values, mask_bl=context.mask_bl, positions_bl=positions_bl)

    def with_fixed_size(self, state: State, length: int) -> State:
        return static_keys_values(state, length) if isinstance(state, KeyValueState) else state

    def look_at(self, cache: KeyValueCache, q_bhlk: Tensor, positions_bl: Tensor) -> Tensor:
        """Return what the queries at these positions see in the cache, (B, H, L, V)."""
        bias = row_bias(self.score_position, positions_bl, cache.positions_bs)
        if isinstance(cache, KeyValueState) and (cache.mask_bs is None or q_bhlk.shape[2] != 1):
            return self.attend_to(cache, q_bhlk, bias)
        every = cache.all_taken(q_bhlk.dtype)
        # of one query, a mask of scores takes less than hiding keys by what they hold, which copies them all
        hidden = hidden_pairs(~cache.taken_bs(), q_bhlk.dtype)[:, None, None]
        return self.attend_to(every, q_bhlk, with_score_mask(bias, hidden, q_bhlk, every.k_bgsk))

    def attend_to(self, cache: KeyValueState, q_bhlk: Tensor, bias: Bias) -> Tensor:
        """Return what the queries see in the cache, (B, H, L, V)."""
        return attention(q_bhlk, cache.k_bgsk, cache.values, causal=self.causal, key_mask_bs=cache.mask_bs, bias=bias)
