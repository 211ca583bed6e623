"""Post-norm wiring."""

from __future__ import annotations

from torch import Tensor, nn

from formers.mixers.mixer import MixerModule
from formers.norms import Norm
from formers.part import Site
from formers.residuals.residual import Block, Residual


class PostNorm(Residual):
    """norm(x + mixer(x)), then norm(x + ffn(x)), as in the first Transformer and BERT. Source: arXiv:1706.03762."""

    normalizes_end = False

    def build(self, site: Site, mixer: MixerModule, ffn: nn.Module, norm: Norm) -> Block:
        return PostNormBlock(site, mixer, ffn, norm)


class PostNormBlock(Block):
    def mixer_input(self, x_bld: Tensor) -> Tensor:
        return x_bld

    def merge(self, x_bld: Tensor, mixed_bld: Tensor) -> Tensor:
        x_bld = self.mixer_norm(x_bld + self.dropout(mixed_bld))
        return self.ffn_norm(x_bld + self.dropout(self.ffn(x_bld)))
