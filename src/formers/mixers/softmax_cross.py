"""Softmax attention to another sequence."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from formers.mixers.cross import CrossMixer
from formers.mixers.kv_cache import KeyValueState
from formers.ops import attention
from formers.part import State


class SoftmaxCross(CrossMixer):
    """softmax(QKᵀ/√K) V over the source, whose keys and values are kept: O(L·S·K), and 2·G·K numbers a source token."""

    states: ClassVar[tuple[type[State], ...]] = (KeyValueState,)

    def keep(self, k_bgsk: Tensor, v_bgsv: Tensor, mask_bs: Tensor | None, seen_b: Tensor) -> State:
        return KeyValueState(seen_b, k_bgsk, v_bgsv, mask_bs)

    def attend(self, q_bhlk: Tensor, source: State) -> Tensor:
        assert isinstance(source, KeyValueState)
        return attention(q_bhlk, source.k_bgsk, source.values, causal=False, key_mask_bs=source.mask_bs)
