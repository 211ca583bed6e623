"""Attention whose scores are any bilinear form."""

from __future__ import annotations

from torch import Tensor, nn

from formers.mixers.kv_cache import append
from formers.mixers.mixer import Mixer, MixerModule, join_heads, split_heads
from formers.mixers.softmax import score_bias
from formers.ops import attention
from formers.part import Site, State
from formers.positions.position import build_at


class Quadratic(Mixer):
    """softmax(x U xᵀ/√D) V with a full bilinear form U ∈ R^{D×D} per head.

    Scaled dot-product attention is the case U = W_Q W_Kᵀ of rank K. H·D² parameters for the scores, O(L²·D·H) time; all
    heads share the inputs themselves as keys, so the cache grows by D + D numbers a token. Source: nlp-metaformer.
    """

    can = frozenset(
        {"causal", "bidirectional", "streaming", "padding", "qk_position", "score_position", "trim", "order_blind"}
    )

    def growth(self) -> float:
        return 2.0

    def module(self, site: Site) -> MixerModule:
        return QuadraticMixer(site)


class QuadraticMixer(MixerModule):
    def __init__(self, site: Site):
        super().__init__(site)
        self.heads, width = site.heads, site.width
        site.split(site.heads)  # raises when the values do not divide into heads
        self.q_proj = nn.Linear(width, site.heads * width, bias=False)  # U of every head
        self.v_proj = nn.Linear(width, width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)
        self.head_position = build_at("heads", site.with_heads(1))  # keys are the whole width
        self.score_position = build_at("scores", site)

    def forward(
        self,
        x_bld: Tensor,
        state: State | None = None,
        *,
        mask_bl: Tensor | None = None,
        positions_bl: Tensor | None = None,
    ) -> tuple[Tensor, State | None]:
        x_bld, positions_bl = self.enter(x_bld, state, mask_bl, positions_bl)
        q_bhld = split_heads(self.q_proj(x_bld), self.heads)
        k_b1ld = x_bld.to(q_bhld.dtype).unsqueeze(1)  # under autocast, what no projection has touched is still wide
        if self.head_position is not None:
            q_bhld, k_b1ld = self.head_position(q_bhld, positions_bl), self.head_position(k_b1ld, positions_bl)
        scored = positions_bl if self.score_position is not None else None
        v_bhlv = split_heads(self.v_proj(x_bld), self.heads)
        keys = append(state, k_b1ld, v_bhlv, mask_bl=mask_bl, positions_bl=scored)
        y_bhlv = attention(
            q_bhld,
            keys.k_bgsk.expand(-1, self.heads, -1, -1),
            keys.values,
            causal=self.causal,
            key_mask_bs=keys.mask_bs,
            bias=score_bias(self.score_position, positions_bl, keys),
        )
        return self.o_proj(join_heads(y_bhlv)), keys if self.causal else None
