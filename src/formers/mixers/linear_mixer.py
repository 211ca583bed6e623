"""The module of linear attention: sums over products of features, and the states that hold them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import ClassVar, TypedDict

import torch
from torch import Tensor

from formers.mixers.context import Context
from formers.mixers.feature_maps import FeatureMap, factor_dtype
from formers.mixers.qkv import QKV, QkvMixer
from formers.ops import (
    LinearState,
    accumulation_dtype,
    is_left_open,
    kernel_attention,
    kernel_attention_reach,
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
        options = _LinearOptions(causal=self.causal, key_mask_bs=mask_bl, normalize=self.normalize)
        if self.kernel is not None and context.state is None and self.is_short(qkv):
            y = kernel_attention(q, k, v, self.kernel, **options)
            if not self.causal or not context.keep_state:
                return y, None
            return y, self.state_of(LinearPrefixState(context.seen_b, k, v, mask_bl))
        if self.elementwise is None:
            q, k = (factors_of(phi, v) for phi in (self.feature(q, query=True), self.feature(k)))
        v_wide = v.to(k.dtype)  # features may be float32 where the model is not
        sums, feature = self.sums_of(context.state), self.elementwise or "identity"
        y, sums = linear_attention(q, k, v_wide, state=sums, floor=self.floor, feature=feature, **options)
        return y.to(v.dtype), LinearMixerState(context.seen_b, sums) if self.causal else None

    def with_fixed_size(self, state: State, length: int) -> State:
        sums = self.sums_of(state) if isinstance(state, LinearPrefixState) else None
        return state if sums is None else LinearMixerState(state.seen_b, sums)

    def is_short(self, qkv: QKV) -> bool:
        """Return whether scores of these tokens take less than their features; a length left open takes these."""
        length = qkv.q.shape[2]
        return not is_left_open(length) and length < kernel_attention_reach(
            *qkv, self.features, causal=self.causal, normalize=self.normalize
        )

    def state_of(self, prefix: LinearPrefixState) -> State:
        """Return a prefix as it is where it holds less than twice the sums."""
        length, dtype = prefix.k_bhlk.shape[2], prefix.v_bhlv.dtype
        few = length * dtype.itemsize < self.features * accumulation_dtype(dtype).itemsize
        return prefix if few else self.with_fixed_size(prefix, length)

    def sums_of(self, state: State | None) -> LinearState | None:
        """Return what came before as sums; None at the start."""
        if isinstance(state, LinearPrefixState):
            return self.sums_of_prefix(state)
        return state.sums if isinstance(state, LinearMixerState) else None

    def sums_of_prefix(self, prefix: LinearPrefixState) -> LinearState:
        """Return the sums over a prefix, features of M tokens at a time."""
        at_once = self.features
        ks, vs = prefix.k_bhlk.split(at_once, 2), prefix.v_bhlv.split(at_once, 2)
        masks = [None] * len(ks) if prefix.mask_bl is None else prefix.mask_bl.split(at_once, 1)
        return reduce(_added, map(self._sums, ks, vs, masks))

    def _sums(self, k_bhlk: Tensor, v_bhlv: Tensor, mask_bl: Tensor | None) -> LinearState:
        phi_k = self.feature(k_bhlk)
        return linear_state(phi_k, v_bhlv.to(phi_k.dtype), key_mask_bs=mask_bl, normalize=self.normalize)


def _added(a: LinearState, b: LinearState) -> LinearState:
    return LinearState(a.s_bhmv + b.s_bhmv, None if a.z_bhm is None or b.z_bhm is None else a.z_bhm + b.z_bhm)


def factors_of(phi_bhlm: Tensor, v_bhlv: Tensor) -> Tensor:
    """Return features as factors of products with values."""
    return phi_bhlm.to(factor_dtype(v_bhlv)) if factor_dtype(v_bhlv) == torch.bfloat16 else phi_bhlm
