"""The module of linear attention beyond a window: a few queries at a time, with all that the state remembers, or, on a
GPU, a whole sequence at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from formers.mixers.context import Context
from formers.mixers.feature_maps import FeatureMap
from formers.mixers.heads import join_heads, split_heads
from formers.mixers.linear_mixer import factors_of
from formers.mixers.qkv import QKV, QkvMixer, mix_in_pieces
from formers.mixers.sparse_state import SparseState, take_tokens
from formers.ops import (
    LinearState,
    accumulation_dtype,
    linear_state,
    packing,
    pad_input,
    safe_divisor,
    windowed_linear_attention,
    without_autocast,
)
from formers.part import Site, State

_QUERIES_AT_ONCE = 64
"""New tokens that look at what is remembered, and at each other, at once."""


@dataclass(frozen=True)
class WindowedLinearState(State):
    """The keys and values that later queries see one by one, and the sums over those that they see no more."""

    k_bgsk: Tensor
    "Keys, (B, G, S, K)."
    v_bgsv: Tensor
    "Values, (B, G, S, V)."
    index_bs: Tensor
    "The token that each belongs to, counted without padding, (B, S); −1 where there is none."
    sums: LinearState
    "The sums of linear attention over all other tokens."

    def followed_by(self, later: SparseState) -> SparseState:
        """Return the tokens that are seen one by one, and later ones behind them."""
        return SparseState(self.seen_b, self.k_bgsk, self.v_bgsv, self.index_bs).followed_by(later)


class ExactTokens(NamedTuple):
    """The tokens that a query sees one by one: `window` back, its own included, and the first `sinks`."""

    window: int
    sinks: int


class _NearAndFar(NamedTuple):
    """The pairs of some queries and keys, (B, 1, L, S): those weighed by softmax, and those by features."""

    near: Tensor
    far: Tensor


class WindowedLinearMixer(QkvMixer):
    """Goes through a sequence in pieces, from state to state; on a GPU, one that begins is taken at once."""

    states = (WindowedLinearState,)

    def __init__(
        self,
        site: Site,
        feature: FeatureMap,
        near: ExactTokens,
        *,
        gain: float,
        kv_heads: int | None = None,
        bias: bool = False,
    ):
        """Build projections and features; `gain` is what g starts as."""
        super().__init__(site, kv_heads=kv_heads, bias=bias)
        self.near, self.gain, self.floor = near, gain, feature.floor()
        self.feature = feature.build(site.head_width, site.heads)
        self.log_gain_h = nn.Parameter(torch.empty(site.heads))
        self.init_weights(0.0)

    def init_weights(self, std: float) -> None:
        """Set g of every head to what it starts as."""
        nn.init.constant_(self.log_gain_h, math.log(self.gain))

    def attend(self, qkv: QKV, context: Context) -> tuple[Tensor, State | None]:
        if context.state is None and self.takes_all_at_once(qkv.q):
            return self.attend_at_once(qkv, context)
        return mix_in_pieces(lambda some, there, _: self.step(some, there), qkv, context, _QUERIES_AT_ONCE)

    def takes_all_at_once(self, q_bhlk: Tensor) -> bool:
        """Return whether a sequence that begins is one call of each kernel: on a GPU, which pieces would leave idle."""
        return q_bhlk.is_cuda

    def attend_at_once(self, qkv: QKV, context: Context) -> tuple[Tensor, WindowedLinearState | None]:
        """Return y of a sequence that begins here, and the state after it, if it is asked for."""
        q, k, v = (self._per_head(t) for t in qkv)
        phi_q, phi_k = (factors_of(phi, v) for phi in (self.feature(q, query=True), self.feature(k)))
        wanted, v_wide = context.keep_state, v.to(phi_k.dtype)
        state = self._forget(self._state_of(qkv, context), phi_k, v_wide, None) if wanted else None
        given: tuple[Tensor, ...] = q, k, v, phi_q, phi_k
        pack = None if context.mask_bl is None else packing(context.mask_bl)
        if pack is not None:  # padding behind the tokens is seen by none of them
            behind_bl = torch.arange(q.shape[2], device=q.device) >= pack.length_b.unsqueeze(1)
            given = tuple(take_tokens(t, pack.source_bl, behind_bl) for t in given)
        y = windowed_linear_attention(
            *given, window=self.near.window, sinks=self.near.sinks, log_gain_h=self.log_gain_h, floor=self.floor
        )
        y = y if pack is None else split_heads(pad_input(join_heads(y), pack), self.heads)
        return y, state

    def step(self, qkv: QKV, context: Context) -> tuple[Tensor, WindowedLinearState]:
        """Return y of a few new tokens, and the state after them."""
        before = context.state
        known, sums = self._state_of(qkv, context), None
        if isinstance(before, WindowedLinearState):
            known, sums = before.followed_by(known), before.sums
        q, k, v = (self._per_head(t) for t in (qkv.q, known.k_bgsk, known.v_bgsv))
        features = self.feature(q, query=True), self.feature(k)
        pairs = self._pairs(context.counts_bl - 1, known.index_bs)
        with without_autocast(q.device):
            dtype = accumulation_dtype(v.dtype)
            q, k, v, phi_q, phi_k = (t.to(dtype) for t in (q, k, v, *features))
            phi_q = phi_q * self.log_gain_h.to(dtype).exp()[:, None, None]
            weights = _near_weights(q, k, pairs.near) + (phi_q @ phi_k.mT).masked_fill(~pairs.far, 0)
            y, total = weights @ v, weights.sum(-1, keepdim=True)
            if sums is not None and sums.z_bhm is not None:
                y, total = y + phi_q @ sums.s_bhmv, total + phi_q @ sums.z_bhm.unsqueeze(-1)
            y = y / safe_divisor(total, self.floor)
            return y.to(qkv.v.dtype), self._forget(known, phi_k, v, sums)

    def with_fixed_size(self, state: State, length: int) -> State:
        assert isinstance(state, WindowedLinearState)
        exact = SparseState(state.seen_b, state.k_bgsk, state.v_bgsv, state.index_bs)
        kept = exact.filled(state.index_bs >= 0, self.near.window - 1 + self.near.sinks)
        return WindowedLinearState(kept.seen_b, kept.k_bgsk, kept.v_bgsv, kept.index_bs, state.sums)

    def _state_of(self, qkv: QKV, context: Context) -> SparseState:
        """Return a state of the new tokens alone, without sums."""
        index_bl = (context.counts_bl - 1).expand(len(context.x_bld), -1)
        index_bl = index_bl if context.mask_bl is None else index_bl.masked_fill(~context.mask_bl, -1)
        return SparseState(context.seen_b, qkv.k, qkv.v, index_bl)

    def _per_head(self, t_bglk: Tensor) -> Tensor:
        """Return what each query head reads, (B, H, L, K)."""
        return t_bglk if t_bglk.shape[1] == self.heads else t_bglk.repeat_interleave(self.heads // t_bglk.shape[1], 1)

    def _pairs(self, q_bl: Tensor, k_bs: Tensor) -> _NearAndFar:
        """Return the near and the far pairs of queries and keys, which are known by the numbers of their tokens."""
        q, k = q_bl[:, None, :, None], k_bs[:, None, None, :]
        seen = (k >= 0) & (k <= q)
        near = (q - k < self.near.window) | (k < self.near.sinks)
        return _NearAndFar(seen & near, seen & ~near)

    def _forget(self, known: SparseState, phi_bhsm: Tensor, v: Tensor, sums: LinearState | None) -> WindowedLinearState:
        """Return the state after known tokens: those that later queries see, and the sums with the others."""
        real_bs, back_bs = known.index_bs >= 0, known.seen_b.unsqueeze(1) - known.index_bs
        kept_bs = real_bs & ((back_bs < self.near.window) | (known.index_bs < self.near.sinks))
        more = linear_state(phi_bhsm, v, key_mask_bs=real_bs & ~kept_bs)
        if sums is not None and sums.z_bhm is not None and more.z_bhm is not None:
            more = LinearState(sums.s_bhmv + more.s_bhmv, sums.z_bhm + more.z_bhm)
        kept = known.keep(kept_bs, self.near.window - 1 + self.near.sinks)
        return WindowedLinearState(kept.seen_b, kept.k_bgsk, kept.v_bgsv, kept.index_bs, more)


def _near_weights(q: Tensor, k: Tensor, near: Tensor) -> Tensor:
    """Return e^(s − m) of the near pairs, m the largest score of each query's, and 0 of the others."""
    scores = (q * q.shape[3] ** -0.5 @ k.mT).masked_fill(~near, -torch.inf)
    largest = scores.amax(-1, keepdim=True)  # far weights are not divided by it: its gradient counts
    return (scores - largest.masked_fill(largest == -torch.inf, 0)).exp()
