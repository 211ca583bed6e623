"""Linear attention to another sequence."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from formers.mixers.cross import CrossMixer
from formers.mixers.feature_maps import FeatureMap
from formers.mixers.linear_mixer import LinearMixerState
from formers.ops import linear_attention, linear_state
from formers.part import Site, State


class LinearCross(CrossMixer):
    """φ(q)·Σ_j φ(k_j) v_jᵀ / φ(q)·Σ_j φ(k_j) over the source, of which these two sums are kept, whatever its length:
    O((L + S)·M·V), and a step costs O(M·V)."""

    states: ClassVar[tuple[type[State], ...]] = (LinearMixerState,)

    def __init__(self, site: Site, feature: FeatureMap, *, normalize: bool = True, bias: bool = False):
        super().__init__(site, bias=bias)
        self.feature = feature.build(site.head_width, site.heads)
        self.normalize, self.floor = normalize, feature.floor()

    def keep(self, k_bgsk: Tensor, v_bgsv: Tensor, mask_bs: Tensor | None, seen_b: Tensor) -> State:
        phi_k = self.feature(k_bgsk)
        sums = linear_state(phi_k, v_bgsv.to(phi_k.dtype), key_mask_bs=mask_bs, normalize=self.normalize)
        return LinearMixerState(seen_b, sums)

    def attend(self, q_bhlk: Tensor, source: State) -> Tensor:
        assert isinstance(source, LinearMixerState)
        phi_q = self.feature(q_bhlk, query=True)
        width = source.sums.s_bhmv.shape[-1]
        no_k, no_v = phi_q[:, :, :0], phi_q.new_zeros(*phi_q.shape[:2], 0, width)
        y_bhlv, _ = linear_attention(phi_q, no_k, no_v, state=source.sums, normalize=self.normalize, floor=self.floor)
        return y_bhlv.to(q_bhlk.dtype)
