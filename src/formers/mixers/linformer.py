"""Linformer."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from formers.mixers.context import Context
from formers.mixers.heads import join_heads, split_heads
from formers.mixers.length_projection import LengthProjection
from formers.mixers.mixer import Mixer, MixerModule
from formers.mixers.qkv import QKV, QkvMixer
from formers.ops import attention, check_lengths, packing, unpad_input
from formers.part import Site, State


class Linformer(Mixer):
    """softmax(Q (E K)ᵀ/√K) (F V), with projections E and F along the sequence to a fixed length.

    O(L·length·K) time. Bidirectional only: every shortened key holds all tokens. A sequence shorter than the model's
    `context_length` uses the first columns of E and F, a longer one raises; padding is left out before the columns are
    counted. For another `length` in other layers, give a cycle of mixers. Source: Wang et al. 2020, arXiv:2006.04768.
    """

    added = {"bias": False}  # noqa: RUF012
    can = frozenset({"bidirectional", "padding", "qk_position", "relative"})
    instead = {  # noqa: RUF012
        "causal": "a shortened key mixes tokens with later ones, which no mask can undo. Use performer(), linear() or "
        "softmax() in a causal model, or linformer() in a bidirectional one"
    }
    length: int = 64
    "Number of shortened keys and values."
    share: Literal["none", "headwise", "kv", "layerwise"] = "headwise"
    "none: E and F per head; headwise: E and F per layer; kv: E = F per layer; layerwise: one E = F for all layers."
    kind: Literal["learned", "mean", "max", "conv"] = "learned"
    "E: a learned matrix, means or maxima of windows of context_length/length tokens, or a convolution of that stride."
    bias: bool = False
    "Whether the projections have one."

    @property
    def abilities(self) -> frozenset[str]:
        """All of `can`, but not relative where maxima or convolutions look at the features of turned keys."""
        return self.can if self.kind in ("learned", "mean") else self.can - {"relative"}

    def check(self) -> None:
        if self.length < 1:
            raise ValueError(f"linformer: length must be at least 1, but {self.length} was given")
        if self.kind in ("mean", "max") and self.share != type(self).share:
            raise ValueError(f"linformer: kind={self.kind!r} has nothing to share, but share={self.share!r} was given")

    def growth(self) -> float:
        return 1.0

    def module(self, site: Site) -> MixerModule:
        return LinformerMixer(site, self)


class LinformerMixer(QkvMixer):
    def __init__(self, site: Site, part: Linformer):
        super().__init__(site, bias=part.bias)
        groups = site.heads if part.share == "none" else 1
        sizes = (groups, part.length, site.context_length, site.head_width)
        self.key_length = LengthProjection(part.kind, *sizes)
        self.value_length = LengthProjection(part.kind, *sizes) if part.share in ("none", "headwise") else None
        if part.share == "layerwise":
            self.share("key_length", among=part)

    def attend(self, qkv: QKV, context: Context) -> tuple[Tensor, State | None]:
        (q, k, v), counts_b = qkv, None
        if context.mask_bl is not None:
            pack = packing(context.mask_bl)
            k, v = (split_heads(unpad_input(join_heads(t), pack), self.heads) for t in (k, v))
            counts_b, longest = pack.length_b, self.key_length.longest
            if k.shape[2] > longest:
                check_lengths(counts_b, longest, f"linformer, built with context_length={longest},")
                k, v = k[:, :, :longest], v[:, :, :longest]
        value_length = self.key_length if self.value_length is None else self.value_length
        key_mask_bs = self.key_length.filled(counts_b, k.shape[2])
        k, v = self.key_length(k, counts_b).to(q), value_length(v, counts_b).to(q)  # autocast sums in float32
        return attention(q, k, v, key_mask_bs=key_mask_bs), None
