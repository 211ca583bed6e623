"""PoolFormer's mixing."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from formers.mixers.context import Context
from formers.mixers.mixer import Mixer, MixerModule
from formers.ops import PoolState, pool_mix
from formers.part import Site, State


class Pool(Mixer):
    """The average of the nearest tokens minus the token itself. No parameters; O(L·D).

    Source: Yu et al. 2022 (PoolFormer), arXiv:2111.11418.
    """

    can = frozenset({"causal", "bidirectional", "streaming", "static", "padding", "export"})
    window: int = 3
    "Number of tokens that are averaged: centred, or the last ones when causal."

    def check(self) -> None:
        if self.window < 1:
            raise ValueError(f"pool: window must be at least 1, but {self.window} was given")

    def growth(self) -> float:
        return 1.0

    def module(self, site: Site) -> MixerModule:
        return PoolMixer(site, self.window)


@dataclass(frozen=True)
class PoolMixerState(State):
    """The last window − 1 tokens."""

    last: PoolState


class PoolMixer(MixerModule):
    states = (PoolMixerState,)

    def __init__(self, site: Site, window: int):
        super().__init__(site)
        self.window = window

    def mix(self, context: Context) -> tuple[Tensor, State | None]:
        last = context.state.last if isinstance(context.state, PoolMixerState) else None
        mask_bl = context.mask_bl
        y_bld, last = pool_mix(context.x_bld, window=self.window, causal=self.causal, mask_bl=mask_bl, state=last)
        return y_bld, PoolMixerState(context.seen_b, last) if self.causal else None
