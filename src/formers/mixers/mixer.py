"""The mixer axis: how tokens exchange information."""

from __future__ import annotations

from torch import Tensor, nn

from formers.part import Part
from formers.site import Site
from formers.state import State


class Mixer(Part):
    """How tokens exchange information: hidden states in, hidden states out."""

    def build(self, site: Site) -> MixerModule:
        raise NotImplementedError


class MixerModule(nn.Module):
    """A built mixer: `y, state = mixer(x, state)`.

    Args of `forward`:
        x_bld: hidden states of the new tokens, (B, L, D).
        state: what came before, or None at the start. Only streaming mixers take one.
        mask_bl: True = a real token, False = padding, (B, L); None = all real.
        positions_bl: position of each token, (B, L) or (1, L). None counts the real tokens, on from the state.
    Returns:
        y (B, L, D), and the state after the last token (None where the mixer keeps none).
    """

    def forward(
        self,
        x_bld: Tensor,
        state: State | None = None,
        *,
        mask_bl: Tensor | None = None,
        positions_bl: Tensor | None = None,
    ) -> tuple[Tensor, State | None]:
        raise NotImplementedError
