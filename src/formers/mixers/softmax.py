"""Scaled dot-product attention, and what every mixer with softmax scores shares."""

from __future__ import annotations

from torch import Tensor, nn

from formers.mixers.kv_cache import KeyValueState, append
from formers.mixers.mixer import Mixer, MixerModule
from formers.mixers.qkv import HeadMixer
from formers.ops import Bias, attention
from formers.part import Site, State
from formers.positions.position import build_at


class Softmax(Mixer):
    """softmax(QKᵀ/√K) V: every token looks at every token it may see.

    O(L²·K) time, O(L) memory in the fused kernel; streams with a cache that grows by 2·G·K numbers a token.
    Source: Vaswani et al. 2017, arXiv:1706.03762; grouped heads: Ainslie et al. 2023, arXiv:2305.13245.
    """

    can = frozenset(
        {"causal", "bidirectional", "streaming", "padding", "qk_position", "score_position", "trim", "order_blind"}
    )
    kv_heads: int | None = None
    "Heads of keys and values, G, shared by the query heads; as many as those unless given. 1 is multi-query attention."
    bias: bool = False
    "Whether the projections have one."

    def growth(self) -> float:
        return 2.0

    def module(self, site: Site) -> MixerModule:
        return SoftmaxMixer(site, kv_heads=self.kv_heads, bias=self.bias)


class SoftmaxMixer(HeadMixer):
    def __init__(self, site: Site, *, kv_heads: int | None, bias: bool):
        super().__init__(site, kv_heads=kv_heads, bias=bias)
        self.score_position = build_at("scores", site)

    def mix(
        self, q: Tensor, k: Tensor, v: Tensor, state: State | None, mask_bl: Tensor | None, positions_bl: Tensor
    ) -> tuple[Tensor, State | None]:
        scored = positions_bl if self.score_position is not None else None
        keys = append(state, k, v, mask_bl=mask_bl, positions_bl=scored)
        bias = score_bias(self.score_position, positions_bl, keys)
        y = attention(q, keys.k_bgsk, keys.values, causal=self.causal, key_mask_bs=keys.mask_bs, bias=bias)
        return y, keys if self.causal else None


def score_bias(score_position: nn.Module | None, positions_bl: Tensor, keys: KeyValueState) -> Bias:
    """The position's bias on the scores as the kernel asks for it, a block of queries at a time; None without one."""
    if score_position is None:
        return None
    return lambda start, stop: score_position(positions_bl[:, start:stop], keys.positions_bs)
