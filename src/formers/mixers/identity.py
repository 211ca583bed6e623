"""No mixing."""

from __future__ import annotations

from torch import Tensor

from formers.mixers.context import Context
from formers.mixers.mixer import Mixer, MixerModule
from formers.part import Site, State


class Identity(Mixer):
    """y = x: no token learns of any other. The floor of an ablation: what the mixers above it add is mixing."""

    can = frozenset({"causal", "bidirectional", "streaming", "static", "padding", "export", "trim", "order_blind"})

    def growth(self) -> float:
        return 1.0

    def module(self, site: Site) -> MixerModule:
        return IdentityMixer(site)


class TokenCountState(State):
    """The number of tokens that came before, and nothing else."""

    def trim(self, count_b: Tensor) -> TokenCountState:
        return TokenCountState(self.seen_b - count_b.clamp(max=self.seen_b))


class IdentityMixer(MixerModule):
    states = (TokenCountState,)

    def mix(self, context: Context) -> tuple[Tensor, State | None]:
        return context.x_bld, TokenCountState(context.seen_b) if self.causal else None
