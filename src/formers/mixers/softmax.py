"""Scaled dot-product attention."""

from __future__ import annotations

from formers.mixers.cached_attention import CachedAttention
from formers.mixers.cross import CrossMixer
from formers.mixers.heads import check_head_count
from formers.mixers.mixer import Mixer, MixerModule
from formers.mixers.qkv import QkvMixer
from formers.mixers.softmax_cross import SoftmaxCross
from formers.part import Site


class Softmax(Mixer):
    """softmax(QKᵀ/√K) V: every token looks at every token it may see.

    O(L²·K) time, O(L) memory in the fused kernel; streams with a cache that grows by 2·G·K numbers a token.
    Source: Vaswani et al. 2017, arXiv:1706.03762; grouped heads: Ainslie et al. 2023, arXiv:2305.13245.
    """

    can = frozenset(
        {"causal", "bidirectional", "streaming", "static", "padding", "qk_position", "score_position"}
        | {"weight_position", "trim", "cross", "export", "order_blind", "relative"}
    )
    kv_heads: int | None = None
    "Heads of keys and values, G, shared by the query heads; as many as those unless given. 1 is multi-query attention."
    bias: bool = False
    "Whether the projections have one."

    def check(self) -> None:
        check_head_count(self, "kv_heads")

    def growth(self) -> float:
        return 2.0

    def module(self, site: Site) -> MixerModule:
        return SoftmaxMixer(site, kv_heads=self.kv_heads, bias=self.bias)

    def cross_module(self, site: Site) -> CrossMixer:
        return SoftmaxCross(site, kv_heads=self.kv_heads, bias=self.bias)


class SoftmaxMixer(CachedAttention, QkvMixer):
    """Attention over a KV cache with the usual projections."""
