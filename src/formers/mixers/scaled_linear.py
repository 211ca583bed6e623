"""Linear attention whose keys' features are exponentials, kept in range by the largest exponent so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from formers.mixers.context import Context
from formers.mixers.linear_mixer import LinearMixer, factors_of
from formers.mixers.qkv import QKV
from formers.ops import LinearState, linear_attention
from formers.part import State


@dataclass(frozen=True)
class ScaledSumsState(State):
    """The sums of linear attention, and the exponent that their features are lowered by."""

    sums: LinearState
    scale_bh: Tensor
    "The largest exponent of any key so far, (B, H); −∞ before the first real token."


class ScaledLinearMixer(LinearMixer):
    """Linear attention over exp(e_jm − c): e the exponents of the keys, c one number per head that cancels in y.

    Over all pairs c is the largest exponent of any key. When causal it is the largest up to each token, c_i = max_{j ≤
    i} e_jm, so that nothing depends on later tokens: the sums are scaled down by exp(c_{i−1} − c_i), a decay, when a
    larger one comes.
    """

    states: ClassVar[tuple[type[State], ...]] = (ScaledSumsState,)
    feature: Any
    "Features as `FeatureMap.exponential` describes them."

    def attend(self, qkv: QKV, context: Context) -> tuple[Tensor, State | None]:
        state = context.state if isinstance(context.state, ScaledSumsState) else None
        phi_q = factors_of(self.feature(qkv.q, query=True), qkv.v)
        largest_bhl = self.feature.largest_exponents(qkv.k)
        scale = running_scale(largest_bhl, context.mask_bl, None if state is None else state.scale_bh, self.causal)
        phi_k = factors_of(self.feature(qkv.k, shift_bhl=scale.shift_bhl), qkv.v)
        y, sums = linear_attention(
            phi_q,
            phi_k,
            qkv.v.to(phi_k.dtype),
            causal=self.causal,
            key_mask_bs=context.mask_bl,
            state=None if state is None else state.sums,
            floor=self.floor,
            log_decay_bhl=scale.log_decay_bhl,
        )
        y = y.to(qkv.v.dtype)
        return y, ScaledSumsState(context.seen_b, sums, scale.end_bh) if self.causal else None


class KeyScale(NamedTuple):
    """The exponents that features are lowered by.

    Attributes:
        shift_bhl: what the exponents of each key are lowered by.
        log_decay_bhl: log of the factor by which the sums before each token shrink; None over all pairs.
        end_bh: the largest exponent of all keys, those before this call too; −∞ where there is none.
    """

    shift_bhl: Tensor
    log_decay_bhl: Tensor | None
    end_bh: Tensor


def running_scale(largest_bhl: Tensor, mask_bl: Tensor | None, before_bh: Tensor | None, causal: bool) -> KeyScale:
    """Return the scale of keys whose largest exponents are given. Masked ones do not count."""
    if mask_bl is not None:
        largest_bhl = largest_bhl.masked_fill(~mask_bl.unsqueeze(1), -torch.inf)
    if before_bh is None:
        before_bh = largest_bhl.new_full(largest_bhl.shape[:2], -torch.inf)
    scale_bhl = torch.cat([before_bh.unsqueeze(2), largest_bhl], 2)
    if not causal:
        end_bh = scale_bhl.amax(2)
        return KeyScale(_finite(end_bh).unsqueeze(2).expand_as(largest_bhl), None, end_bh)
    scale_bhl = scale_bhl.cummax(2).values
    earlier, here = scale_bhl[:, :, :-1], scale_bhl[:, :, 1:]
    decay = (earlier - here).masked_fill(earlier == -torch.inf, 0)  # before the first real token the sums are zero
    return KeyScale(_finite(here), decay, scale_bhl[:, :, -1])


def _finite(scale: Tensor) -> Tensor:
    return scale.masked_fill(scale == -torch.inf, 0)
