"""DenseAttention."""

from __future__ import annotations

import math
from typing import Any, Literal, TypedDict

import torch
from torch import Tensor, nn

from formers.mixers.context import Context
from formers.mixers.heads import check_head_count, join_heads, split_heads
from formers.mixers.linear_mixer import LinearMixerState
from formers.mixers.mixer import Mixer, MixerModule
from formers.mixers.qkv import QKV, HeadMixer
from formers.ops import LinearState, accumulation_dtype, dense_attention, linear_attention, product_dtype
from formers.part import Site, State, Unsupported, check_init


class Dense(Mixer):
    """X W_Q Xᵀ X / N per head: no softmax, no keys, values or output projection.

    N is the number of real tokens seen, where the published code has N^{−1/3} on each factor, and in causal models,
    too, counts the whole row, future and all.

    By associativity (Q Xᵀ) X in O(L²·D) or Q (Xᵀ X) in O(L·D²/H), whichever is cheaper; streams with D²/H numbers. D²
    parameters. One head (or few) is best: MLM accuracy 67.1, 66.3 and 65.1 with 1, 4 and 16. Its own wiring is
    `residual=danet()`. Source: Argatkiny & Makarov 2025 (DenseAttention).
    """

    can = frozenset(
        {"causal", "bidirectional", "streaming", "static", "padding", "qk_position", "export"}
        | {"order_blind", "relative"}
    )
    starts = {"init": ("q_proj.weight",)}  # noqa: RUF012
    heads: int = 1
    "Heads of this mixer, whatever the model's."
    order: Literal["auto", "scores", "state"] = "auto"
    "Which product first: QXᵀ (`scores`), XᵀX (`state`), or by the measured crossover (`auto`)."
    init: float | None = None
    "W_Q starts as N(0, σ²), σ = init/√(2·layers·D); init is the model's `initializer_range` unless given."

    def check(self) -> None:
        check_head_count(self, "heads")
        check_init(self)

    @property
    def abilities(self) -> frozenset[str]:
        """All of `can`, but with an order neither causal, where sums are made chunk by chunk, nor with rotary keys."""
        ordered = {"causal", "streaming", "static", "qk_position", "relative"}
        return self.can if self.order == "auto" else self.can - ordered

    def check_site(self, site: Site) -> None:
        """Raise `Unsupported` also where an order is given that could have no effect."""
        turned = site.position is not None and site.position.acts_on == "heads"
        if self.order != "auto" and (site.causal or turned):
            why = f"the position {site.position}, which turns keys" if turned else "causality: sums are made in chunks"
            raise Unsupported(f"{self}: order has no effect with {why}; leave it out")
        super().check_site(site)

    def growth(self) -> float:
        return 2.0 if self.order == "scores" else 1.0

    def module(self, site: Site) -> MixerModule:
        return DenseMixer(site, self)


class QueryMixer(HeadMixer):
    """One projection, of the queries; the tokens themselves are keys and values. The base of every DenseAttention."""

    def __init__(self, site: Site, part: Any):
        site.split(part.heads)
        super().__init__(site.with_heads(part.heads))
        self.part = part
        self.shrink = 1 / math.sqrt(2 * site.layers * site.width)
        self.q_proj = nn.Linear(site.width, site.width, bias=False)

    def project(self, context: Context) -> QKV:
        """Return queries, and the tokens as keys and values. `attend` scales queries, then applies the position."""
        x_bhlk = split_heads(context.x_bld, self.heads)
        return QKV(split_heads(self.q_proj(context.x_bld), self.heads), x_bhlk, x_bhlk)

    def finish(self, y_bhlv: Tensor, context: Context) -> Tensor:
        return join_heads(y_bhlv)

    def init_weights(self, std: float) -> None:
        """Set W_Q to init/√(2·layers·D), where init is `std` unless the part has its own."""
        nn.init.normal_(self.q_proj.weight, std=self.shrink * (std if self.part.init is None else self.part.init))


class DenseMixer(QueryMixer):
    states = (LinearMixerState,)

    def attend(self, qkv: QKV, context: Context) -> tuple[Tensor, State | None]:
        counts_bl, positions_bl = context.counts_bl, context.positions_bl
        counts_b1l1 = (counts_bl if self.causal else counts_bl[:, -1:])[:, None, :, None]
        dtype = product_dtype(qkv.v)
        of_queries, of_outputs = exponents_of_count(dtype)
        q, x = (qkv.q * _power(counts_b1l1, of_queries, qkv.v.dtype)).to(dtype), qkv.v.to(dtype)
        sums = context.state.sums if isinstance(context.state, LinearMixerState) else None
        options = _SumOptions(causal=self.causal, key_mask_bs=context.mask_bl, state=sums)
        if self.head_position is None:
            y, sums = dense_attention(q, x, order=self.part.order, **options)
        else:  # a key with a position is no longer the value
            q, k = self.apply_position(q, positions_bl), self.apply_position(x, positions_bl)
            y, sums = linear_attention(q, k, x, normalize=False, **options)
        y = y * _power(counts_b1l1, of_outputs, y.dtype) if of_outputs else y
        return y, LinearMixerState(context.seen_b, sums) if self.causal else None


def exponents_of_count(*dtypes: torch.dtype) -> tuple[float, float]:
    """Return the powers of N that queries and outputs are multiplied by, 1/N together.

    With float16 among the dtypes of factors two, since queries, or sums, would leave its range with one.
    """
    return (-2 / 3, -1 / 3) if torch.float16 in dtypes else (-1.0, 0.0)


def _power(counts: Tensor, exponent: float, dtype: torch.dtype) -> Tensor:
    """Return counts^exponent, made in float32 or wider: counts leave float16's range, and autocast widens powers."""
    return (counts.to(accumulation_dtype(dtype)) ** exponent).to(dtype)


class _SumOptions(TypedDict):
    causal: bool
    key_mask_bs: Tensor | None
    state: LinearState | None
