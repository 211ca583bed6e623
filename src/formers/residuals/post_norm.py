"""Post-norm wiring."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from formers.mixers.documents import Mask
from formers.mixers.mixer import MixerModule
from formers.norms import Norm
from formers.part import Site
from formers.residuals.residual import Block, Residual, Sublayer


class PostNorm(Residual):
    """norm(x + mixer(x)), then norm(x + ffn(x)), as in the first Transformer and BERT. Source: arXiv:1706.03762."""

    normalizes_end = False

    def build(self, site: Site, mixer: MixerModule, ffn: nn.Module, norm: Norm) -> Block:
        return PostNormBlock(site, mixer, ffn, norm)

    def build_sublayer(self, site: Site, norm: Norm) -> Sublayer:
        return PostNormSublayer(site, norm)


class PostNormBlock(Block):
    def mixer_input(self, x_bld: Tensor) -> Tensor:
        return x_bld

    def join(self, x_bld: Tensor, mixed_bld: Tensor) -> Tensor:
        return self.mixer_norm(x_bld + self.dropout(mixed_bld))

    def feed(self, x_bld: Tensor, mask_bl: Mask = None) -> Tensor:
        return self.ffn_norm(x_bld + self.dropout(self.feed_forward(x_bld, mask_bl)))


class PostNormSublayer(Sublayer):
    def forward(self, x_bld: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
        return self.norm(x_bld + self.dropout(run(x_bld)))
