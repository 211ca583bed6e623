"""Attention with one projection and a learned metric."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from formers.mixers.kv_cache import append
from formers.mixers.mixer import Mixer, MixerModule, join_heads, split_heads
from formers.mixers.softmax import score_bias
from formers.ops import attention, metric_attention
from formers.part import Site, State
from formers.positions.position import build_at


class Metric(Mixer):
    """softmax(p M pᵀ/√K) p: one projection for queries, keys and values, and a symmetric K×K metric M per head.

    D² + H·K(K+1)/2 + D² parameters against softmax attention's 4·D²; O(L²·K) time, O(L) memory; the cache holds p alone,
    H·K numbers a token (keys and values apart under a position that turns keys only). M starts as the identity; what is
    stored, and what weight decay shrinks, is its difference from that, as an upper triangle. Source: nlp-metaformer.
    """

    can = frozenset(
        {"causal", "bidirectional", "streaming", "padding", "qk_position", "score_position", "trim", "order_blind"}
    )
    positive: bool = False
    "Whether M is a true metric, AᵀA + ε·I with an upper triangle A, rather than only symmetric."
    eps: float = 1e-3
    "ε of the positive form."

    def check(self) -> None:
        if self.eps != type(self).eps and not self.positive:
            raise ValueError(f"metric: eps is for positive=True, but eps={self.eps} was given with positive=False")

    def growth(self) -> float:
        return 2.0

    def module(self, site: Site) -> MixerModule:
        return MetricMixer(site, self)


class MetricMixer(MixerModule):
    def __init__(self, site: Site, part: Metric):
        super().__init__(site)
        self.heads, self.part, k = site.heads, part, site.head_width
        self.p_proj = nn.Linear(site.width, site.width, bias=False)
        self.o_proj = nn.Linear(site.width, site.width, bias=False)
        self.triangle_ht = nn.Parameter(torch.zeros(site.heads, k * (k + 1) // 2))
        self.head_position = build_at("heads", site)
        self.score_position = build_at("scores", site)

    def metric(self) -> Tensor:
        """M of every head, (H, K, K): symmetric, and positive definite when the part says so."""
        h, k = self.heads, self.p_proj.out_features // self.heads
        rows, columns = torch.triu_indices(k, k, device=self.triangle_ht.device)
        upper_hkk = self.triangle_ht.new_zeros(h, k, k).index_put(
            (torch.arange(h)[:, None], rows, columns), self.triangle_ht
        )
        eye_kk = torch.eye(k, dtype=upper_hkk.dtype, device=upper_hkk.device)
        if self.part.positive:
            a_hkk = eye_kk + upper_hkk
            return a_hkk.mT @ a_hkk + self.part.eps * eye_kk
        return eye_kk + upper_hkk + upper_hkk.mT - torch.diag_embed(upper_hkk.diagonal(dim1=1, dim2=2))

    def forward(
        self,
        x_bld: Tensor,
        state: State | None = None,
        *,
        mask_bl: Tensor | None = None,
        positions_bl: Tensor | None = None,
    ) -> tuple[Tensor, State | None]:
        x_bld, positions_bl = self.enter(x_bld, state, mask_bl, positions_bl)
        p_bhlk, m_hkk = split_heads(self.p_proj(x_bld), self.heads), self.metric()
        turned = p_bhlk if self.head_position is None else self.head_position(p_bhlk, positions_bl)
        scored = positions_bl if self.score_position is not None else None
        values = None if self.head_position is None else p_bhlk
        keys = append(state, turned, values, mask_bl=mask_bl, positions_bl=scored)
        bias = score_bias(self.score_position, positions_bl, keys)
        if values is None:
            y_bhlk = metric_attention(
                p_bhlk, m_hkk, keys_bhsk=keys.k_bgsk, causal=self.causal, key_mask_bs=keys.mask_bs, bias=bias
            )
        else:  # a turned key is no longer the value
            y_bhlk = attention(
                turned @ m_hkk, keys.k_bgsk, keys.values, causal=self.causal, key_mask_bs=keys.mask_bs, bias=bias
            )
        return self.o_proj(join_heads(y_bhlk)), keys if self.causal else None

    def init_weights(self, std: float) -> None:
        nn.init.zeros_(self.triangle_ht)
