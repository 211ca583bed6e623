"""Pre-norm wiring."""

from __future__ import annotations

from torch import Tensor, nn

from formers.mixers.documents import Mask
from formers.mixers.mixer import MixerModule
from formers.norms import Norm
from formers.part import Site, State
from formers.residuals.residual import Block, Residual


class PreNorm(Residual):
    """x + mixer(norm(x)), then x + ffn(norm(x)): the stream itself is never normalised.

    Source: Xiong et al. 2020, arXiv:2002.04745.
    """

    normalizes_end = True

    def build(self, site: Site, mixer: MixerModule, ffn: nn.Module, norm: Norm) -> Block:
        return PreNormBlock(site, mixer, ffn, norm)


class PreNormBlock(Block):
    def forward(
        self,
        x_bld: Tensor,
        state: State | None = None,
        *,
        mask_bl: Mask = None,
        positions_bl: Tensor | None = None,
    ) -> tuple[Tensor, State | None]:
        mixed, state = self.mixer(self.mixer_norm(x_bld), state, mask_bl=mask_bl, positions_bl=positions_bl)
        x_bld = x_bld + self.dropout(mixed)
        return x_bld + self.dropout(self.ffn(self.ffn_norm(x_bld))), state
