"""DenseAttention."""

from __future__ import annotations

import math
from typing import Any, Literal

from torch import Tensor, nn

from formers.mixers.linear import LinearStream
from formers.mixers.mixer import Mixer, MixerModule, count_tokens, join_heads, seen_after, split_heads
from formers.ops import dense_attention, linear_attention
from formers.part import Site, State
from formers.positions.position import build_at


class Dense(Mixer):
    """X W_Q Xᵀ X / N per head: no softmax, no keys, values or output projection; N real tokens seen (the paper's N^{−1/3} thrice).

    By associativity (Q Xᵀ) X in O(L²·D) or Q (Xᵀ X) in O(L·D²/H), whichever is cheaper; streams with D²/H numbers. D²
    parameters. One head (or few) is best: MLM accuracy 67.1, 66.3 and 65.1 with 1, 4 and 16. Its own wiring is
    `residual=danet()`. Source: Argatkiny & Makarov 2025 (DenseAttention).
    """

    can = frozenset({"causal", "bidirectional", "streaming", "padding", "qk_position", "order_blind"})
    heads: int = 1
    "Heads of this mixer, whatever the model's."
    order: Literal["auto", "scores", "state"] = "auto"
    "Which product first: QXᵀ (`scores`), XᵀX (`state`), or by the measured crossover (`auto`)."
    init: float = 1.0
    "W_Q starts as N(0, σ²), σ = init/√(2·layers·D)."

    def check(self) -> None:
        if self.init < 0:
            raise ValueError(f"{self}: init must be at least 0")

    def growth(self) -> float:
        return 2.0 if self.order == "scores" else 1.0

    def module(self, site: Site) -> MixerModule:
        return DenseMixer(site, self)


class QueryMixer(MixerModule):
    """One projection, of the queries; the tokens themselves are keys and values. What every DenseAttention shares."""

    def __init__(self, site: Site, part: Any):
        super().__init__(site)
        site.split(part.heads)
        self.part = part
        self.std = part.init / math.sqrt(2 * site.layers * site.width)
        self.q_proj = nn.Linear(site.width, site.width, bias=False)
        self.head_position = build_at("heads", site.with_heads(part.heads))

    def init_weights(self, std: float) -> None:
        nn.init.normal_(self.q_proj.weight, std=self.std)


class DenseMixer(QueryMixer):
    def forward(
        self,
        x_bld: Tensor,
        state: State | None = None,
        *,
        mask_bl: Tensor | None = None,
        positions_bl: Tensor | None = None,
    ) -> tuple[Tensor, State | None]:
        counts_bl = count_tokens(x_bld, mask_bl, state)
        counts_bl1 = (counts_bl if self.causal else counts_bl[:, -1:]).unsqueeze(-1).to(x_bld.dtype)
        x_bld, positions_bl = self.enter(x_bld, state, mask_bl, positions_bl)
        # 1/N in two steps, so that neither the queries nor the sums leave float16's range
        q_bhlk = split_heads(self.q_proj(x_bld) * counts_bl1 ** (-2 / 3), self.part.heads)
        y_bhlk, state = self.mix(q_bhlk, split_heads(x_bld, self.part.heads), state, mask_bl, positions_bl)
        return join_heads(y_bhlk) * counts_bl1 ** (-1 / 3), state

    def mix(
        self, q: Tensor, x: Tensor, state: State | None, mask_bl: Tensor | None, positions_bl: Tensor
    ) -> tuple[Tensor, State | None]:
        sums = state.sums if isinstance(state, LinearStream) else None
        if self.head_position is None:
            order = self.part.order
            y, sums = dense_attention(q, x, causal=self.causal, key_mask_bs=mask_bl, state=sums, order=order)
        else:  # a turned key is no longer the value
            q, k = self.head_position(q, positions_bl), self.head_position(x, positions_bl)
            y, sums = linear_attention(q, k, x, causal=self.causal, key_mask_bs=mask_bl, state=sums, normalize=False)
        return y, LinearStream(seen_after(x[:, 0], mask_bl, state), sums) if self.causal else None
