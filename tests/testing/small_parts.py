"""A small part of a published kind with its reference, to plant faults in: a mixer with a state."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from formers.mixers.context import Context
from formers.mixers.heads import split_heads
from formers.mixers.mixer import Mixer, MixerModule
from formers.mixers.qkv import QKV, QkvMixer
from formers.part import Site, State
from formers.testing.references import (
    Weights,
    heads_of,
    on_heads,
    on_layer,
    project,
    reference,
    side_by_side,
)


class SmallRetention(Mixer):
    """y_i = Σ_{j ≤ i} γ_h^{i−j} (q_i·k_j/√K) v_j, γ_h = 1 − 2^{−5−h}, h = 0 … H − 1; a position turns queries and keys.

    Source: Sun et al. 2023 (RetNet), arXiv:2307.08621, without its norm and gate.
    """

    can = frozenset({"causal", "streaming", "padding", "qk_position"})

    def growth(self) -> float:
        return 2.0

    def module(self, site: Site) -> MixerModule:
        return SmallRetentionMixer(site)


@dataclass(frozen=True)
class RetentionState(State):
    """S = Σ_j γ^{i−j} k_j v_jᵀ."""

    s_bhkv: Tensor


class SmallRetentionMixer(QkvMixer):
    """Over all pairs of the new tokens, and through the state; the methods are what faults replace."""

    states = (RetentionState,)

    def scale(self, width: int) -> float:
        return width**-0.5

    def decays(self) -> list[float]:
        return [1 - 2.0 ** (-5 - h) for h in range(self.heads)]

    def turned(self, x_bhlk: Tensor, positions_bl: Tensor) -> Tensor:
        return x_bhlk if self.head_position is None else self.head_position(x_bhlk, positions_bl)

    def kept(self, k_bhlk: Tensor, positions_bl: Tensor) -> Tensor:
        return self.turned(k_bhlk, positions_bl)

    def project(self, context: Context) -> QKV:
        x_bld, positions_bl = context.x_bld, context.positions_bl
        q, k, v = (split_heads(proj(x_bld), self.heads) for proj in (self.q_proj, self.k_proj, self.v_proj))
        return QKV(self.turned(q, positions_bl) * self.scale(q.shape[3]), self.kept(k, positions_bl), v)

    def attend(self, qkv: QKV, context: Context) -> tuple[Tensor, State]:
        (q, k, v), x_bld, mask_bl, state = qkv, context.x_bld, context.mask_bl, context.state
        real_b1l = (torch.ones_like(x_bld[..., 0], dtype=torch.bool) if mask_bl is None else mask_bl).unsqueeze(1)
        count_b1l = real_b1l.long().cumsum(-1)
        decay_h1 = x_bld.new_tensor(self.decays()).view(-1, 1)
        between = (count_b1l.unsqueeze(-1) - count_b1l.unsqueeze(-2)).clamp(min=0)
        seen = real_b1l.unsqueeze(-2) & torch.ones_like(between, dtype=torch.bool).tril()
        y = (q @ k.mT * (decay_h1.unsqueeze(-1) ** between * seen)) @ v
        to_end = decay_h1 ** (count_b1l[..., -1:] - count_b1l) * real_b1l
        s_bhkv = (k * to_end.unsqueeze(-1)).mT @ v
        if isinstance(state, RetentionState):
            before_bhkv = state.s_bhkv.to(s_bhkv.dtype)  # it may have been made outside autocast
            y = y + (q * (decay_h1**count_b1l).unsqueeze(-1)).to(s_bhkv.dtype) @ before_bhkv
            s_bhkv = s_bhkv + (decay_h1 ** count_b1l[..., -1:]).unsqueeze(-1) * before_bhkv
        return y, RetentionState(context.seen_b, s_bhkv)


@reference(SmallRetention)
def small_retention(part: SmallRetention, site: Site, weights: Weights, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
    """(Q Kᵀ/√K ⊙ D) V with D_ij = γ^{i−j} for j ≤ i, else 0."""
    x_bld = on_layer(site, weights, x_bld, positions_bl)
    q, k, v = (heads_of(project(weights, f"{name}_proj", x_bld), site.heads) for name in "qkv")
    q, k = on_heads(site, weights, q, positions_bl), on_heads(site, weights, k, positions_bl)
    length = x_bld.shape[1]
    kept = [
        [[(1 - 2.0 ** (-5 - h)) ** (i - j) if j <= i else 0.0 for j in range(length)] for i in range(length)]
        for h in range(site.heads)
    ]
    scores = torch.einsum("bhik,bhjk->bhij", q, k) / math.sqrt(q.shape[3]) * torch.tensor(kept, dtype=torch.float64)
    return project(weights, "o_proj", side_by_side(scores @ v))
