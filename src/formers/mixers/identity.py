"""No mixing."""

from __future__ import annotations

from torch import Tensor

from formers.mixers.mixer import Mixer, MixerModule, seen_after
from formers.part import Site, State


class Identity(Mixer):
    """y = x: no token learns of any other. The floor of an ablation: what the mixers above it add is mixing."""

    can = frozenset({"causal", "bidirectional", "streaming", "padding", "trim", "order_blind"})

    def growth(self) -> float:
        return 1.0

    def module(self, site: Site) -> MixerModule:
        return IdentityMixer(site)


class Seen(State):
    """Only how many tokens came before."""

    def trim(self, count_b: Tensor) -> Seen:
        return Seen(self.seen_b - count_b.clamp(max=self.seen_b))


class IdentityMixer(MixerModule):
    def forward(
        self,
        x_bld: Tensor,
        state: State | None = None,
        *,
        mask_bl: Tensor | None = None,
        positions_bl: Tensor | None = None,
    ) -> tuple[Tensor, State | None]:
        x_bld, _ = self.enter(x_bld, state, mask_bl, positions_bl)
        return x_bld, Seen(seen_after(x_bld, mask_bl, state)) if self.causal else None
