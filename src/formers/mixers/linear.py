"""Linear attention."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from formers.mixers.features import Elu, FeatureMap
from formers.mixers.heads import HeadMixer
from formers.mixers.mixer import Mixer, MixerModule, seen_after
from formers.ops import LinearState, linear_attention
from formers.part import Unsupported
from formers.site import Site
from formers.state import State


class Linear(Mixer):
    """φ(q_i)·Σ_j φ(k_j) v_jᵀ / φ(q_i)·Σ_j φ(k_j): sums over the past instead of a look at each of its tokens.

    O(L·M·V) time; streams with a state of M·V + M numbers per head, whatever the length ("Transformers are RNNs"). A
    rotary position turns queries and keys before φ. Source: Katharopoulos et al. 2020, arXiv:2006.16236.
    """

    can = frozenset({"causal", "bidirectional", "streaming", "padding", "qk_position", "order_blind"})
    feature: FeatureMap = Elu()
    "φ."
    normalize: bool = True
    "Whether to divide by φ(q_i)·Σ φ(k_j)."

    def check(self) -> None:
        if self.feature.needs_normalizer and not self.normalize:
            raise Unsupported(
                f"linear: {self.feature} knows a query's features up to a factor only, which the normaliser divides out; "
                "use normalize=True, or another feature"
            )

    def growth(self) -> float:
        return 1.0

    def module(self, site: Site) -> MixerModule:
        return LinearMixer(site, self)


@dataclass(frozen=True)
class LinearStream(State):
    """The sums of linear attention, of a fixed size."""

    sums: LinearState


class LinearMixer(HeadMixer):
    def __init__(self, site: Site, part: Linear):
        super().__init__(site)
        self.feature = part.feature.build(site.head_width)
        self.normalize, self.floor = part.normalize, part.feature.floor()

    def mix(
        self, q: Tensor, k: Tensor, v: Tensor, state: State | None, mask_bl: Tensor | None, positions_bl: Tensor
    ) -> tuple[Tensor, State | None]:
        phi_q, phi_k = self.feature(q, query=True), self.feature(k)
        y, sums = linear_attention(
            phi_q,
            phi_k,
            v.to(phi_k.dtype),  # features may be float32 where the model is not
            causal=self.causal,
            key_mask_bs=mask_bl,
            state=state.sums if isinstance(state, LinearStream) else None,
            normalize=self.normalize,
            floor=self.floor,
        )
        return y.to(v.dtype), LinearStream(seen_after(k[:, 0], mask_bl, state), sums) if self.causal else None
