"""Linear attention whose features, and not their inputs, are turned by a position."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, TypedDict

from torch import Tensor

from formers.mixers.context import Context
from formers.mixers.feature_maps import FeatureMap
from formers.mixers.linear_mixer import LinearMixer
from formers.mixers.qkv import QKV
from formers.mixers.scaled_linear import KeyScale, running_scale
from formers.ops import LinearState, accumulation_dtype, linear_attention, safe_divisor
from formers.part import Site, State
from formers.positions.position import build_at


@dataclass(frozen=True)
class TurnedSumsState(State):
    """The sums over turned features and those over features as they are, of a fixed size."""

    sums: LinearState
    "Σ_j (R_j φ(k_j)) v_jᵀ."
    totals: LinearState | None
    "Σ_j φ(k_j), as a column; None where nothing is normalised."
    scale_bh: Tensor | None
    "The largest exponent of any key so far, where features are exponentials."


class TurnedLinearMixer(LinearMixer):
    """y_i = Σ_j (R_i φ(q_i))·(R_j φ(k_j)) v_j / Σ_j φ(q_i)·φ(k_j), R_i what the position does to the features of i.

    The denominator is left as it is, so that it stays positive where features are. Both are sums of float32 or wider.
    Source: Su et al. 2021 (RoFormer), arXiv:2104.09864, eq. 19.
    """

    states: ClassVar[tuple[type[State], ...]] = (TurnedSumsState,)
    feature: Any

    def __init__(self, site: Site, feature: FeatureMap, *, normalize: bool = True, bias: bool = False):
        super().__init__(replace(site, position=None), feature, normalize=normalize, bias=bias)
        self.feature_position = build_at("heads", replace(site, key_width=self.features))
        self.exponential = feature.exponential

    def attend(self, qkv: QKV, context: Context) -> tuple[Tensor, State | None]:
        before = context.state if isinstance(context.state, TurnedSumsState) else None
        phi = self.features_of(qkv, context, before)
        v = qkv.v.to(phi.q.dtype)
        decay = None if phi.scale is None else phi.scale.log_decay_bhl
        options = _TurnedSumOptions(
            causal=self.causal, key_mask_bs=context.mask_bl, normalize=False, log_decay_bhl=decay
        )
        turned_q, turned_k = (self.turn(t, context.positions_bl) for t in (phi.q, phi.k))
        y, sums = linear_attention(turned_q, turned_k, v, state=before.sums if before else None, **options)
        totals = None
        if self.normalize:
            ones = v.new_ones(*v.shape[:3], 1)
            total, totals = linear_attention(phi.q, phi.k, ones, state=before.totals if before else None, **options)
            y = y / safe_divisor(total, self.floor)
        y = y.to(qkv.v.dtype)
        if not self.causal:
            return y, None
        return y, TurnedSumsState(context.seen_b, sums, totals, None if phi.scale is None else phi.scale.end_bh)

    def turn(self, phi_bhlm: Tensor, positions_bl: Tensor) -> Tensor:
        """Return features turned by the position."""
        assert self.feature_position is not None
        turned: Tensor = self.feature_position(phi_bhlm, positions_bl)
        return turned

    def features_of(self, qkv: QKV, context: Context, before: TurnedSumsState | None) -> _Features:
        """Return the features of queries and keys, exponentials lowered by the largest so far."""
        scale, shift = None, {}
        if self.exponential:
            known = None if before is None else before.scale_bh
            scale = running_scale(self.feature.largest_exponents(qkv.k), context.mask_bl, known, self.causal)
            shift = {"shift_bhl": scale.shift_bhl}
        phi_q, phi_k = self.feature(qkv.q, query=True), self.feature(qkv.k, **shift)
        wide = accumulation_dtype(phi_q.dtype)
        return _Features(phi_q.to(wide), phi_k.to(wide), scale)


class _Features(NamedTuple):
    """Features of queries and keys in float32 or wider, and what exponentials among them are lowered by."""

    q: Tensor
    k: Tensor
    scale: KeyScale | None


class _TurnedSumOptions(TypedDict):
    causal: bool
    key_mask_bs: Tensor | None
    normalize: bool
    log_decay_bhl: Tensor | None
