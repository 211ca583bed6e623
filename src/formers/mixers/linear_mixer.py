"""The module of linear attention: sums over products of features, and the states that hold them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypedDict

import torch
from torch import Tensor

from formers.mixers.context import Context
from formers.mixers.feature_maps import FeatureMap
from formers.mixers.qkv import QKV, QkvMixer
from formers.ops import (
    LinearState,
    is_left_open,
    kernel_attention,
    kernel_attention_in_blocks,
    linear_attention,
    linear_state,
)
from formers.part import Site, State


@dataclass(frozen=True)
class LinearMixerState(State):
    """The sums of linear attention, of a fixed size."""

    sums: LinearState


@dataclass(frozen=True)
class LinearPrefixState(State):
    """A prefix of fewer tokens than features, kept as it is and summed when others follow: less than twice the sums."""

    k_bhlk: Tensor
    v_bhlv: Tensor
    mask_bl: Tensor | None


class _LinearOptions(TypedDict):
    causal: bool
    key_mask_bs: Tensor | None
    normalize: bool
    floor: float


class LinearMixer(QkvMixer):
    states: ClassVar[tuple[type[State], ...]] = (LinearMixerState, LinearPrefixState)

    def __init__(self, site: Site, feature: FeatureMap, *, normalize: bool = True, bias: bool = False):
        super().__init__(site, bias=bias)
        self.feature = feature.build(site.head_width, site.heads)
        self.kernel, self.features = feature.kernel(), feature.count(site.head_width)
        self.elementwise = feature.elementwise
        self.normalize, self.floor = normalize, feature.floor()

    def attend(self, qkv: QKV, context: Context) -> tuple[Tensor, State | None]:
        (q, k, v), mask_bl = qkv, context.mask_bl
        options = _LinearOptions(causal=self.causal, key_mask_bs=mask_bl, normalize=self.normalize, floor=self.floor)
        if self.kernel is not None and context.state is None and self.is_short(q.shape[2]):
            if q.is_cuda:
                y = kernel_attention_in_blocks(self.kernel, q, k, v, **options)
            else:
                y = kernel_attention(self.kernel(q, k), v, **options)
            return y, LinearPrefixState(context.seen_b, k, v, mask_bl) if self.causal else None
        if self.elementwise is None:
            q, k = (factors_of(phi, v) for phi in (self.feature(q, query=True), self.feature(k)))
        v_wide = v.to(k.dtype)  # features may be float32 where the model is not
        sums, feature = self.sums_of(context.state), self.elementwise or "identity"
        y, sums = linear_attention(q, k, v_wide, state=sums, feature=feature, **options)
        return y.to(v.dtype), LinearMixerState(context.seen_b, sums) if self.causal else None

    def with_fixed_size(self, state: State, length: int) -> State:
        sums = self.sums_of(state) if isinstance(state, LinearPrefixState) else None
        return state if sums is None else LinearMixerState(state.seen_b, sums)

    def is_short(self, length: int) -> bool:
        """Return whether scores of so many tokens take less than their features; a length left open takes these."""
        return not is_left_open(length) and length < self.features

    def sums_of(self, state: State | None) -> LinearState | None:
        """Return what came before as sums; None at the start."""
        if isinstance(state, LinearPrefixState):
            phi_k = self.feature(state.k_bhlk)
            v = state.v_bhlv.to(phi_k.dtype)
            return linear_state(phi_k, v, key_mask_bs=state.mask_bl, normalize=self.normalize)
        return state.sums if isinstance(state, LinearMixerState) else None


def factors_of(phi_bhlm: Tensor, v_bhlv: Tensor) -> Tensor:
    """Return features as factors of products with values: on a GPU in bfloat16 where these are.

    bfloat16 has the range of float32, which denominators need; in float16 they could vanish, and features stay float32.
    """
    return phi_bhlm.to(v_bhlv.dtype) if v_bhlv.is_cuda and v_bhlv.dtype == torch.bfloat16 else phi_bhlm
