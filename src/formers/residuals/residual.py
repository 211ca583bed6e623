"""The residual axis: how the sub-layers of a layer are wired."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from formers.mixers.documents import Mask
from formers.mixers.mixer import MixerModule
from formers.norms import Norm
from formers.part import Part, Site, State


class Residual(Part):
    """How the mixer and the feed-forward of a layer are wired together."""

    normalizes_end: ClassVar[bool]
    "Whether the stream leaves the last layer unnormalised, so that the model puts one more norm behind it."
    calls_layers: ClassVar[bool] = True
    "Whether `through` calls the layers as modules, so that hooks see each of them begin and end."

    def build(self, site: Site, mixer: MixerModule, ffn: nn.Module, norm: Norm) -> Block:
        """Return a layer of this mixer and feed-forward, with norms of its own."""
        raise NotImplementedError

    def enter(self, x_bld: Tensor) -> Tensor:
        """Return what the first layer takes, made from the embedded input."""
        return x_bld

    def leave(self, x: Tensor) -> Tensor:
        """Return the hidden states (B, L, D), made from a layer's output."""
        return x

    def through(self, layers: nn.ModuleList, x: Tensor, mask_bl: Mask, positions_bl: Tensor | None) -> Tensor:
        """Run all layers one after the other and return the last output alone."""
        for layer in layers:
            x, _ = layer(x, mask_bl=mask_bl, positions_bl=positions_bl)
        return x


class Block(nn.Module):
    """One layer: `x, state = block(x, state, mask_bl=…, positions_bl=…)`, arguments as in `MixerModule`.

    x is the result of the wiring's `enter`: the hidden states themselves, unless the wiring changes them.
    """

    def __init__(self, site: Site, mixer: MixerModule, ffn: nn.Module, norm: Norm):
        super().__init__()
        self.mixer, self.ffn = mixer, ffn
        self.mixer_norm, self.ffn_norm = norm.build(site), norm.build(site)
        self.dropout = nn.Dropout(site.dropout)

    def forward(
        self,
        x_bld: Tensor,
        state: State | None = None,
        *,
        mask_bl: Mask = None,
        positions_bl: Tensor | None = None,
    ) -> tuple[Tensor, State | None]:
        raise NotImplementedError
