"""Softmax attention over every key so far, for any projections."""

from __future__ import annotations

from torch import Tensor

from formers.mixers.context import Context
from formers.mixers.kv_cache import KeyValueState, append
from formers.mixers.qkv import QKV, HeadMixer
from formers.mixers.score_bias import row_bias
from formers.ops import Bias, attention
from formers.part import State


class CachedAttention(HeadMixer):
    """softmax(QKᵀ/√K + bias) V over the new keys and those of a KV cache, the bias by the position that acts on scores.

    A subclass has the projections; it may override `attend_to`. Keys that are the values, one tensor in `QKV`, are kept
    once.
    """

    states = (KeyValueState,)

    def attend(self, qkv: QKV, context: Context) -> tuple[Tensor, State | None]:
        cache = self.remember(qkv.k, qkv.v, context)
        bias = row_bias(self.score_position, context.positions_bl, cache.positions_bs)
        y_bhlv = self.attend_to(cache, qkv.q, bias)
        return y_bhlv, cache if self.causal else None

    def mix_rows(self, context: Context, rows: Tensor) -> tuple[Tensor, State]:
        """Return y of some rows and the state of all: the others cost their keys and values."""
        cache = self.remember(*self.keys_values(context), context)
        if not len(rows):
            return context.x_bld[:0], cache
        some, seen = context.rows(rows), cache.reorder(rows)
        bias = row_bias(self.score_position, some.positions_bl, seen.positions_bs)
        return self.finish(self.attend_to(seen, self.queries(some), bias), some), cache

    def remember(self, k_bglk: Tensor, v_bglv: Tensor, context: Context) -> KeyValueState:
        """Return the cache after the new keys and values."""
        values = None if v_bglv is k_bglk else v_bglv
        positions_bl = context.positions_bl if self.score_position is not None else None
        return append(context.state, k_bglk, values, mask_bl=context.mask_bl, positions_bl=positions_bl)

    def attend_to(self, cache: KeyValueState, q_bhlk: Tensor, bias: Bias) -> Tensor:
        """Return what the queries see in the cache, (B, H, L, V)."""
        return attention(q_bhlk, cache.k_bgsk, cache.values, causal=self.causal, key_mask_bs=cache.mask_bs, bias=bias)
