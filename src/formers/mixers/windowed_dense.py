"""DenseAttention among neighbouring tokens, counted without padding."""

from __future__ import annotations

from torch import Tensor

from formers.mixers.context import Context
from formers.mixers.dense import QueryMixer
from formers.ops import packing, pad_input
from formers.part import State


class WindowedDenseMixer(QueryMixer):
    """`attend` finds the real tokens of each row first, and behind them zeros, which add nothing to any sum."""

    def mix(self, context: Context) -> tuple[Tensor, State | None]:
        if context.mask_bl is None:
            return super().mix(context)
        pack = packing(context.mask_bl)
        y_bld, state = super().mix(context.unpad(pack))
        return pad_input(y_bld, pack), state
