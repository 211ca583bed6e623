"""Linear attention to far tokens, softmax attention to near ones, under one normaliser."""

from __future__ import annotations

from formers.mixers.feature_maps import FeatureMap
from formers.mixers.heads import check_head_count
from formers.mixers.learned_features import Hedgehog
from formers.mixers.mixer import Mixer, MixerModule
from formers.mixers.windowed_linear_mixer import ExactTokens, WindowedLinearMixer
from formers.part import Site, Unsupported


class WindowedLinear(Mixer):
    """Softmax weights in a window and on the first tokens, those of linear attention on all others, divided together.

    y_i = Σ_j a_ij v_j / Σ_j a_ij over j ≤ i: a_ij = e^(s_ij − m_i) near, s = q·k/√K, m_i the largest near score of i,
    and a_ij = g φ(q_i)·φ(k_j) far, with g > 0 learned for each head. O(L·(w·K + M·V)) time; streams with the keys and
    values of w − 1 tokens and of the sinks, and the sums of all others: a constant size.

    Made for the repair of trained models (`formers.adapt`): what attention does nearby, and its habit of looking at the
    first tokens, is exact from the start, and features learn the rest.
    Source: Zhang et al. 2024 (LoLCATs), arXiv:2410.10254, without sinks; Arora et al. 2024 (Based), arXiv:2402.18668.
    """

    can = frozenset({"causal", "streaming", "static", "padding", "qk_position"})
    instead = {"bidirectional": "far tokens are those before a window; use linear() or longformer()"}  # noqa: RUF012
    starts = {"gain": ("log_gain_h",)}  # noqa: RUF012
    window: int = 32
    "Tokens back that softmax weights are for, the query's own included; counted without padding."
    sinks: int = 4
    "First tokens that softmax weights are for, wherever the query is."
    feature: FeatureMap = Hedgehog()
    "φ."
    gain: float = 0.1
    "What g starts as."
    kv_heads: int | None = None
    "Heads of keys and values, G, shared by the query heads; as many as those unless given."
    bias: bool = False
    "Whether the projections have one."

    def check(self) -> None:
        check_head_count(self, "kv_heads")
        if self.window < 1 or self.sinks < 0:
            raise ValueError(f"{self}: window must be at least 1 and sinks at least 0")
        if not self.gain > 0:
            raise ValueError(f"{self}: gain must be above 0")
        if self.feature.needs_normalizer or self.feature.exponential:
            raise Unsupported(
                f"windowed_linear: {self.feature} knows its features up to a factor only, which would weigh far tokens "
                "against near ones; use hedgehog, t2r, elu or taylor2"
            )

    def growth(self) -> float:
        return 1.0

    def module(self, site: Site) -> MixerModule:
        near = ExactTokens(self.window, self.sinks)
        return WindowedLinearMixer(site, self.feature, near, gain=self.gain, kv_heads=self.kv_heads, bias=self.bias)
