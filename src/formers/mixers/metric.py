"""Attention with one projection and a learned metric."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from formers.mixers.cached_attention import CachedAttention
from formers.mixers.context import Context
from formers.mixers.heads import split_heads
from formers.mixers.kv_cache import KeyValueState
from formers.mixers.mixer import Mixer, MixerModule
from formers.mixers.qkv import QKV
from formers.ops import Bias, attention, metric_attention
from formers.part import Site


class Metric(Mixer):
    """softmax(p M pᵀ/√K) p: one projection for queries, keys and values, and a symmetric K×K metric M per head.

    D² + H·K(K+1)/2 + D² parameters against softmax attention's 4·D²; O(L²·K) time, O(L) memory; the cache holds p
    alone, H·K numbers a token (keys and values apart under a position that turns keys only). M starts as the identity;
    what is stored, and what weight decay shrinks, is its difference from that, as an upper triangle. Source:
    nlp-metaformer.
    """

    can = frozenset(
        {"causal", "bidirectional", "streaming", "static", "padding", "qk_position", "score_position"}
        | {"weight_position", "trim", "export", "order_blind"}
    )
    positive: bool = False
    "Whether M is a true metric, AᵀA + ε·I with an upper triangle A, rather than only symmetric."
    eps: float = 1e-3
    "ε of the positive form."

    def check(self) -> None:
        if self.eps < 0:
            raise ValueError(f"metric: eps cannot be negative, but {self.eps} was given")
        if self.eps != type(self).eps and not self.positive:
            raise ValueError(f"metric: eps is for positive=True, but eps={self.eps} was given with positive=False")

    def growth(self) -> float:
        return 2.0

    def module(self, site: Site) -> MixerModule:
        return MetricMixer(site, self)


class MetricMixer(CachedAttention):
    def __init__(self, site: Site, part: Metric):
        super().__init__(site)
        self.part, k = part, site.head_width
        self.p_proj = nn.Linear(site.width, site.width, bias=False)
        self.o_proj = nn.Linear(site.width, site.width, bias=False)
        self.triangle_ht = nn.Parameter(torch.zeros(site.heads, k * (k + 1) // 2))

    def project(self, context: Context) -> QKV:
        p_bhlk = split_heads(self.p_proj(context.x_bld), self.heads)
        placed_bhlk = self.apply_position(p_bhlk, context.positions_bl)
        return QKV(placed_bhlk, placed_bhlk, p_bhlk)

    def attend_to(self, cache: KeyValueState, q_bhlk: Tensor, bias: Bias) -> Tensor:
        m_hkk, k_bhsk = self.metric(), cache.k_bgsk
        if cache.v_bgsv is None:
            return metric_attention(
                q_bhlk, m_hkk, keys_bhsk=k_bhsk, causal=self.causal, key_mask_bs=cache.mask_bs, bias=bias
            )
        # a rotated key is no longer the value
        return attention(q_bhlk @ m_hkk, k_bhsk, cache.v_bgsv, causal=self.causal, key_mask_bs=cache.mask_bs, bias=bias)

    def metric(self) -> Tensor:
        """Return M of every head, (H, K, K): symmetric, and positive definite if the option `positive` is set."""
        h, k = self.heads, self.p_proj.out_features // self.heads
        rows, columns = torch.triu_indices(k, k, device=self.triangle_ht.device)
        upper_hkk = self.triangle_ht.new_zeros(h, k, k).index_put(
            (torch.arange(h, device=rows.device)[:, None], rows, columns), self.triangle_ht
        )
        eye_kk = torch.eye(k, dtype=upper_hkk.dtype, device=upper_hkk.device)
        if self.part.positive:
            a_hkk = eye_kk + upper_hkk
            return a_hkk.mT @ a_hkk + self.part.eps * eye_kk
        return eye_kk + upper_hkk + upper_hkk.mT - torch.diag_embed(upper_hkk.diagonal(dim1=1, dim2=2))

    def init_weights(self, std: float) -> None:
        nn.init.zeros_(self.triangle_ht)
