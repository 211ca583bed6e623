"""The wiring of DANet."""

from __future__ import annotations

from torch import Tensor, nn

from formers.mixers.documents import Mask
from formers.mixers.mixer import MixerModule
from formers.norms import Norm
from formers.part import Site
from formers.residuals.residual import Block, Residual


class Danet(Residual):
    """x + norm(ffn(mixer(norm(x)))): one residual around both sub-layers, nothing between them.

    DANet, as the published code has it unless told otherwise: mixer=dense, residual=danet, norm=max_norm,
    ffn=mlp(activation=relu, bias=False, init=1.0), embedding_norm=hardtanh, final_norm=none. Its BERT and GPT, whose
    heads follow, have embedding_norm=max_norm and a last norm, that of its pretrained BERT norm=max_norm(weight=after,
    eps=1e-12), out_norm=max_norm(weight=before, eps=1e-12), and layer_norm(bias=False, eps=1e-12) for both others. The
    factor N^{−1/3} on the mixer's input lives in `dense`. Source: Argatkiny & Makarov 2025 (DenseAttention).
    """

    added = {"out_norm": None}  # noqa: RUF012
    normalizes_end = True
    out_norm: Norm | None = None
    "The norm behind the feed-forward; the model's `norm` unless given."

    def build(self, site: Site, mixer: MixerModule, ffn: nn.Module, norm: Norm) -> Block:
        return DanetBlock(site, mixer, ffn, norm, out_norm=self.out_norm or norm)


class DanetBlock(Block):
    def __init__(self, site: Site, mixer: MixerModule, ffn: nn.Module, norm: Norm, *, out_norm: Norm):
        super().__init__(site, mixer, ffn, norm)
        self.ffn_norm = out_norm.build(site)

    def merge(self, x_bld: Tensor, mixed_bld: Tensor, mask_bl: Mask = None) -> Tensor:
        return x_bld + self.dropout(self.ffn_norm(self.feed_forward(mixed_bld, mask_bl)))
