"""Pre-norm wiring."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from formers.mixers.documents import Mask
from formers.mixers.mixer import MixerModule
from formers.norms import Norm
from formers.part import Site
from formers.residuals.residual import Block, Residual, Sublayer


class PreNorm(Residual):
    """x + mixer(norm(x)), then x + ffn(norm(x)): the stream itself is never normalised.

    Source: Xiong et al. 2020, arXiv:2002.04745.
    """

    normalizes_end = True

    def build(self, site: Site, mixer: MixerModule, ffn: nn.Module, norm: Norm) -> Block:
        return PreNormBlock(site, mixer, ffn, norm)

    def build_sublayer(self, site: Site, norm: Norm) -> Sublayer:
        return PreNormSublayer(site, norm)


class PreNormBlock(Block):
    def join(self, x_bld: Tensor, mixed_bld: Tensor) -> Tensor:
        return x_bld + self.dropout(mixed_bld)

    def feed(self, x_bld: Tensor, mask_bl: Mask = None) -> Tensor:
        return x_bld + self.dropout(self.feed_forward(self.ffn_norm(x_bld), mask_bl))


class PreNormSublayer(Sublayer):
    def forward(self, x_bld: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
        return x_bld + self.dropout(run(self.norm(x_bld)))
