"""Pre-norm wiring."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor, nn

from formers.mixers.documents import Mask
from formers.mixers.mixer import MixerModule
from formers.norms import Norm
from formers.part import Site, Unsupported
from formers.residuals.residual import Block, Residual, Sublayer


class PreNorm(Residual):
    """x + mixer(norm(x)), then x + ffn(norm(x)): the stream itself is never normalised.

    Source: Xiong et al. 2020, arXiv:2002.04745; depth-scaled start: Child et al. 2019 (Sparse Transformer),
    arXiv:1904.10509, section 5.2, and GPT-2.
    """

    added = {"depth_scaled": False}  # noqa: RUF012
    normalizes_end = True
    starts = {"depth_scaled": ("o_proj.weight", "down_proj.weight")}  # noqa: RUF012
    depth_scaled: bool = False
    """Whether the last projection of each sub-layer, `o_proj` and `down_proj`, starts as N(0, σ²) with
    σ = initializer_range/√(2·layers), whatever a feed-forward's own `init`: the sum of all 2·layers branches is then as
    large as one. In a decoder that reads a source, cross-attention's too, and σ = initializer_range/√(3·layers)."""

    def build(self, site: Site, mixer: MixerModule, ffn: nn.Module, norm: Norm) -> Block:
        if not self.depth_scaled:
            return PreNormBlock(site, mixer, ffn, norm)
        if not _last_projections(mixer, ffn):
            raise Unsupported(f"{self}: neither {mixer.built_by} nor the feed-forward ends in a projection to scale")
        return DepthScaledBlock(site, mixer, ffn, norm)

    def build_sublayer(self, site: Site, norm: Norm) -> Sublayer:
        return PreNormSublayer(site, norm)


class PreNormBlock(Block):
    def join(self, x_bld: Tensor, mixed_bld: Tensor) -> Tensor:
        return x_bld + self.dropout(mixed_bld)

    def feed(self, x_bld: Tensor, mask_bl: Mask = None) -> Tensor:
        return x_bld + self.dropout(self.feed_forward(self.ffn_norm(x_bld), mask_bl))


class DepthScaledBlock(PreNormBlock):
    def __init__(self, site: Site, mixer: MixerModule, ffn: nn.Module, norm: Norm):
        super().__init__(site, mixer, ffn, norm)
        self.layers = site.layers

    def init_weights(self, std: float) -> None:
        """Set the last projections of both sub-layers to N(0, std²/(2·layers)); this comes after their own starts."""
        self._shrink_last(std, self.mixer, self.ffn)

    def init_with(self, third: nn.Module, std: float) -> None:
        """Set the last projections of all three sub-layers to N(0, std²/(3·layers))."""
        self._shrink_last(std, self.mixer, self.ffn, third)

    def _shrink_last(self, std: float, *branches: nn.Module) -> None:
        """Set the last projections of a layer's branches to N(0, std²/(branches·layers))."""
        for projection in _last_projections(*branches):
            nn.init.normal_(projection.weight, std=std / math.sqrt(len(branches) * self.layers))


def _last_projections(*branches: nn.Module) -> list[nn.Linear]:
    """Return the layers that write to the stream."""
    named = [(name, layer) for branch in branches for name, layer in branch.named_modules()]
    last = ("o_proj", "down_proj")
    return [layer for name, layer in named if name.rpartition(".")[2] in last and isinstance(layer, nn.Linear)]


class PreNormSublayer(Sublayer):
    def forward(self, x_bld: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
        return x_bld + self.dropout(run(self.norm(x_bld)))
