"""Post-norm wiring."""

from __future__ import annotations

from torch import Tensor, nn

from formers.mixers.documents import Mask
from formers.mixers.mixer import MixerModule
from formers.norms import Norm
from formers.part import Site, State
from formers.residuals.residual import Block, Residual


class PostNorm(Residual):
    """norm(x + mixer(x)), then norm(x + ffn(x)), as in the first Transformer and BERT. Source: arXiv:1706.03762."""

    normalizes_end = False

    def build(self, site: Site, mixer: MixerModule, ffn: nn.Module, norm: Norm) -> Block:
        return PostNormBlock(site, mixer, ffn, norm)


class PostNormBlock(Block):
    def forward(
        self,
        x_bld: Tensor,
        state: State | None = None,
        *,
        mask_bl: Mask = None,
        positions_bl: Tensor | None = None,
    ) -> tuple[Tensor, State | None]:
        mixed, state = self.mixer(x_bld, state, mask_bl=mask_bl, positions_bl=positions_bl)
        x_bld = self.mixer_norm(x_bld + self.dropout(mixed))
        return self.ffn_norm(x_bld + self.dropout(self.ffn(x_bld))), state
