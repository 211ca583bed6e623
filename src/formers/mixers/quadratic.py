"""Attention whose scores are any bilinear form."""

from __future__ import annotations

from torch import Tensor, nn

from formers.mixers.cached_attention import CachedAttention
from formers.mixers.context import Context
from formers.mixers.heads import split_heads
from formers.mixers.kv_cache import KeyValueState
from formers.mixers.mixer import Mixer, MixerModule
from formers.mixers.qkv import QKV
from formers.ops import Bias, attention
from formers.part import Site


class Quadratic(Mixer):
    """softmax(x U xᵀ/√D) V with a full bilinear form U ∈ R^{D×D} per head.

    Scaled dot-product attention is the case U = W_Q W_Kᵀ of rank K. H·D² parameters for the scores, O(L²·D·H) time; all
    heads share the inputs themselves as keys, so the cache grows by D + D numbers a token. Source: nlp-metaformer.
    """

    can = frozenset(
        {"causal", "bidirectional", "streaming", "static", "padding", "qk_position", "score_position"}
        | {"trim", "export", "order_blind", "relative"}
    )

    def growth(self) -> float:
        return 2.0

    def module(self, site: Site) -> MixerModule:
        return QuadraticMixer(site)


class QuadraticMixer(CachedAttention):
    def __init__(self, site: Site):
        super().__init__(site, key_width=site.width)  # keys are the whole input
        width = site.width
        site.split(site.heads)  # raises when the values do not divide into heads
        self.q_proj = nn.Linear(width, site.heads * width, bias=False)  # U of every head
        self.v_proj = nn.Linear(width, width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)

    def project(self, context: Context) -> QKV:
        """Return x U of every head, x itself as the keys of all heads, and values."""
        return QKV(self.queries(context), *self.keys_values(context))

    def queries(self, context: Context) -> Tensor:
        return self.apply_position(split_heads(self.q_proj(context.x_bld), self.heads), context.positions_bl)

    def keys_values(self, context: Context) -> tuple[Tensor, Tensor]:
        v_bhlv = split_heads(self.v_proj(context.x_bld), self.heads)
        k_b1ld = context.x_bld.to(v_bhlv.dtype).unsqueeze(1)  # under autocast, no projection has made it narrow
        return self.apply_position(k_b1ld, context.positions_bl), v_bhlv

    def attend_to(self, cache: KeyValueState, q_bhlk: Tensor, bias: Bias) -> Tensor:
        k_bhsd = cache.k_bgsk.expand(-1, self.heads, -1, -1)
        return attention(q_bhlk, k_bhsd, cache.values, causal=self.causal, key_mask_bs=cache.mask_bs, bias=bias)
