"""Linear attention."""

from __future__ import annotations

from typing import Literal

from formers.mixers.cross import CrossMixer
from formers.mixers.feature_maps import Elu, FeatureMap
from formers.mixers.linear_cross import LinearCross
from formers.mixers.linear_mixer import LinearMixer
from formers.mixers.mixer import Mixer, MixerModule
from formers.mixers.scaled_linear import ScaledLinearMixer
from formers.mixers.turned_linear import TurnedLinearMixer
from formers.part import Site, Unsupported


class Linear(Mixer):
    """φ(q_i)·Σ_j φ(k_j) v_jᵀ / φ(q_i)·Σ_j φ(k_j): sums over the past instead of a look at each of its tokens.

    O(L·M·V) time; streams with a state of M·V + M numbers per head, whatever the length ("Transformers are RNNs").
    Where φ(q)·φ(k) is known without features, as for taylor2, fewer tokens than features make scores of it instead,
    O(L²(K + V)), and are summed when others follow them. On a GPU, causal and in half precision, so do several times as
    many, 512/K, by FlexAttention.

    A rotary position turns queries and keys before φ, as it does in softmax attention; outputs then depend on positions
    beyond their differences. As published with rotary positions, features are turned, in the numerator alone, and only
    differences count (`turned=features`): Σ_j (R_i φ(q_i))·(R_j φ(k_j)) v_j / Σ_j φ(q_i)·φ(k_j).
    Source: Katharopoulos et al. 2020, arXiv:2006.16236; turned features: Su et al. 2021, arXiv:2104.09864, eq. 19.
    """

    added = {"turned": "inputs", "bias": False}  # noqa: RUF012
    can = frozenset(
        {"causal", "bidirectional", "streaming", "static", "padding", "qk_position", "export"}
        | {"order_blind", "relative", "cross"}
    )
    instead = {"cross": "exponential features are kept in range by a scale that is found along one sequence"}  # noqa: RUF012
    feature: FeatureMap = Elu()
    "φ."
    normalize: bool = True
    "Whether to divide by φ(q_i)·Σ φ(k_j)."
    turned: Literal["inputs", "features"] = "inputs"
    "What a position that acts on queries and keys turns: these, before φ, or their features, as published."
    bias: bool = False
    "Whether the projections have one."

    def check(self) -> None:
        if self.feature.needs_normalizer and not self.normalize:
            raise Unsupported(
                f"linear: {self.feature} knows a query's features up to a factor only, which the normaliser divides "
                "out; use normalize=True, or another feature"
            )

    @property
    def abilities(self) -> frozenset[str]:
        """All of `can`, but relative only where features are turned; of exponential ones, which a scale that is found
        along one sequence keeps in range by a decay, not cross."""
        lacking = {"relative"} if self.turned == "inputs" else set()
        return self.can - (lacking | {"cross"} if self.feature.exponential else lacking)

    def growth(self) -> float:
        return 1.0

    def module(self, site: Site) -> MixerModule:
        if self.turned == "features" and site.position is not None and site.position.acts_on == "heads":
            return TurnedLinearMixer(site, self.feature, normalize=self.normalize, bias=self.bias)
        if self.feature.exponential:
            return ScaledLinearMixer(site, self.feature, normalize=self.normalize, bias=self.bias)
        return LinearMixer(site, self.feature, normalize=self.normalize, bias=self.bias)

    def cross_module(self, site: Site) -> CrossMixer:
        return LinearCross(site, self.feature, normalize=self.normalize, bias=self.bias)
