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
        values = None if qkv.v is qkv.k else qkv.v
        positions_bl = context.positions_bl if self.score_position is not None else None
        cache = append(context.state, qkv.k, values, mask_bl=context.mask_bl, positions_bl=positions_bl)
        bias = row_bias(self.score_position, context.positions_bl, cache.positions_bs)
        y_bhlv = self.attend_to(cache, qkv.q, bias)
        return y_bhlv, cache if self.causal else None

    def attend_to(self, cache: KeyValueState, q_bhlk: Tensor, bias: Bias) -> Tensor:
        """Return what the queries see in the cache, (B, H, L, V)."""
        return attention(q_bhlk, cache.k_bgsk, cache.values, causal=self.causal, key_mask_bs=cache.mask_bs, bias=bias)
