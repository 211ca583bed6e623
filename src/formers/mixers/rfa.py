"""Random feature attention, plain and gated."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from formers.mixers.context import Context
from formers.mixers.feature_maps import FeatureMap
from formers.mixers.linear import Linear
from formers.mixers.linear_mixer import LinearMixer, LinearMixerState, factors_of
from formers.mixers.mixer import Mixer, MixerModule
from formers.mixers.qkv import QKV
from formers.mixers.random_features import ArcCosine, RandomFourier
from formers.ops import accumulation_dtype, linear_attention
from formers.part import Site, State

_GATE = 30.0
"""Gates beyond this are 1 to the last digit of float32."""


class Rfa(Mixer):
    """Softmax over cosines in linear time, on average: `linear(feature=random_fourier(…))`, and a gate that forgets.

    With `gate`, S_t = g_t S_{t−1} + (1 − g_t) φ(k_t) v_tᵀ and the normaliser alike, g_t = sigmoid(w·x_t + b) per head:
    recency, learned; causal only. O(L·M·K) time; streams with a state of M·V + M numbers per head. Denominators of the
    Gaussian kernel may come near zero or below it; those of a size below exp(−2/σ²), which one key alone exceeds in the
    exact kernel, count as that.
    Source: Peng et al. 2021 (RFA), arXiv:2103.02143.
    """

    added = {"bias": False}  # noqa: RUF012
    can = Linear.can - {"relative", "cross"}
    features: int | None = None
    "M; 2·K unless given, sines and cosines together."
    kernel: Literal["gaussian", "arccos"] = "gaussian"
    "Which similarity: see `random_fourier` and `arc_cosine`."
    sigma: float = 1.0
    "σ of the Gaussian kernel exp((q̂·k̂ − 1)/σ²): small ones sharpen."
    gate: bool = False
    "Whether what came before fades, by a factor that each token sets."
    redraw: int | None = 1
    "Training steps between draws of new directions; None keeps the first. Never in eval mode."
    bias: bool = False
    "Whether the projections have one."

    def check(self) -> None:
        if self.kernel == "arccos" and self.sigma != type(self).sigma:
            raise ValueError(f"rfa: sigma is for kernel='gaussian', but sigma={self.sigma} was given with 'arccos'")
        self.linear()

    @property
    def abilities(self) -> frozenset[str]:
        """All of `can`, but with a gate causal only, and in order."""
        return self.can - {"bidirectional", "order_blind"} if self.gate else self.can

    def linear(self) -> Linear:
        """Return the same mixer without its gate, spelt out."""
        feature: FeatureMap = (
            RandomFourier(features=self.features, sigma=self.sigma, redraw=self.redraw)
            if self.kernel == "gaussian"
            else ArcCosine(features=self.features, redraw=self.redraw)
        )
        return Linear(feature=feature, bias=self.bias)

    def growth(self) -> float:
        return 1.0

    def module(self, site: Site) -> MixerModule:
        linear = self.linear()
        return GatedLinearMixer(site, linear.feature, bias=self.bias) if self.gate else linear.module(site)


class GatedLinearMixer(LinearMixer):
    """Linear attention whose sums fade by a factor that each token sets."""

    states = (LinearMixerState,)

    def __init__(self, site: Site, feature: FeatureMap, *, bias: bool = False):
        super().__init__(site, feature, bias=bias)
        self.gate_proj = nn.Linear(site.width, site.heads)

    def attend(self, qkv: QKV, context: Context) -> tuple[Tensor, State | None]:
        phi_q, phi_k = self.feature(qkv.q, query=True), self.feature(qkv.k)
        gate_bhl = self.gate_proj(context.x_bld).mT.to(accumulation_dtype(phi_k.dtype))
        # The query's factor is 1/(1 − g), so that denominators are as large as without gate; the key's is 1 − g.
        phi_q = factors_of(phi_q * (1 + gate_bhl.clamp(max=_GATE).exp()).unsqueeze(-1), qkv.v)
        phi_k = factors_of(phi_k * torch.sigmoid(-gate_bhl).unsqueeze(-1), qkv.v)
        y, sums = linear_attention(
            phi_q,
            phi_k,
            qkv.v.to(phi_k.dtype),
            causal=True,
            key_mask_bs=context.mask_bl,
            state=self.sums_of(context.state),
            floor=self.floor,
            log_decay_bhl=F.logsigmoid(gate_bhl),
        )
        return y.to(qkv.v.dtype), LinearMixerState(context.seen_b, sums)
