"""The wiring of DANet."""

from __future__ import annotations

from torch import Tensor, nn

from formers.mixers.mixer import MixerModule
from formers.norms import Norm
from formers.part import Site, State
from formers.residuals.residual import Block, Residual


class Danet(Residual):
    """x + norm(ffn(mixer(norm(x)))): one residual around both sub-layers, nothing between them.

    DANet is this wiring with `mixer=dense()`, `norm=max_norm()`, `ffn=mlp(activation=relu, bias=False)`; the paper's
    factor N^{−1/3} on the mixer's input lives in `dense`. Source: Argatkiny & Makarov 2025 (DenseAttention).
    """

    normalizes_end = True

    def build(self, site: Site, mixer: MixerModule, ffn: nn.Module, norm: Norm) -> Block:
        return DanetBlock(site, mixer, ffn, norm)


class DanetBlock(Block):
    def forward(
        self,
        x_bld: Tensor,
        state: State | None = None,
        *,
        mask_bl: Tensor | None = None,
        positions_bl: Tensor | None = None,
    ) -> tuple[Tensor, State | None]:
        mixed, state = self.mixer(self.mixer_norm(x_bld), state, mask_bl=mask_bl, positions_bl=positions_bl)
        return x_bld + self.dropout(self.ffn_norm(self.ffn(mixed))), state
