"""PoolFormer's mixing."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from formers.mixers.mixer import Mixer, MixerModule, seen_after
from formers.ops import PoolState, pool_mix
from formers.part import Site, State


class Pool(Mixer):
    """The average of the nearest tokens minus the token itself. No parameters; O(L·D).

    Source: Yu et al. 2022 (PoolFormer), arXiv:2111.11418.
    """

    can = frozenset({"causal", "bidirectional", "streaming", "padding"})
    window: int = 3
    "How many tokens are averaged: centred, or the last ones when causal."

    def check(self) -> None:
        if self.window < 1:
            raise ValueError(f"pool: window must be at least 1, but {self.window} was given")

    def growth(self) -> float:
        return 1.0

    def module(self, site: Site) -> MixerModule:
        return PoolMixer(site, self.window)


@dataclass(frozen=True)
class PoolStream(State):
    """The last window − 1 tokens."""

    last: PoolState


class PoolMixer(MixerModule):
    def __init__(self, site: Site, window: int):
        super().__init__(site)
        self.window = window

    def forward(
        self,
        x_bld: Tensor,
        state: State | None = None,
        *,
        mask_bl: Tensor | None = None,
        positions_bl: Tensor | None = None,
    ) -> tuple[Tensor, State | None]:
        x_bld, _ = self.enter(x_bld, state, mask_bl, positions_bl)
        last = state.last if isinstance(state, PoolStream) else None
        y_bld, last = pool_mix(x_bld, window=self.window, causal=self.causal, mask_bl=mask_bl, state=last)
        return y_bld, PoolStream(seen_after(x_bld, mask_bl, state), last) if self.causal else None
