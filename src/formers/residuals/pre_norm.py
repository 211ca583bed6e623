"""Pre-norm wiring."""

from __future__ import annotations

from torch import Tensor, nn

from formers.mixers.mixer import MixerModule
from formers.norms import Norm
from formers.part import Site
from formers.residuals.residual import Block, Residual


class PreNorm(Residual):
    """x + mixer(norm(x)), then x + ffn(norm(x)): the stream itself is never normalised.

    Source: Xiong et al. 2020, arXiv:2002.04745.
    """

    normalizes_end = True

    def build(self, site: Site, mixer: MixerModule, ffn: nn.Module, norm: Norm) -> Block:
        return PreNormBlock(site, mixer, ffn, norm)


class PreNormBlock(Block):
    def merge(self, x_bld: Tensor, mixed_bld: Tensor) -> Tensor:
        x_bld = x_bld + self.dropout(mixed_bld)
        return x_bld + self.dropout(self.ffn(self.ffn_norm(x_bld)))
