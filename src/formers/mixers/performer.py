"""Performer."""

from __future__ import annotations

from typing import Literal

from formers.mixers.favor import Favor
from formers.mixers.linear import Linear
from formers.mixers.mixer import Mixer, MixerModule
from formers.part import Site


class Performer(Mixer):
    """Softmax attention in linear time, on average: `linear(feature=favor(…))` under its own name.

    O(L·M·K) time; streams with a state of M·V + M numbers per head. The error falls as 1/√M. Rotary positions after the
    features: `linear(feature=favor(…), turned=features)`.
    Source: Choromanski et al. 2021 (FAVOR+), arXiv:2009.14794.
    """

    added = {"regularize": False, "bias": False}  # noqa: RUF012
    can = Linear.can - {"relative", "cross"}
    starts = dict.fromkeys(("orthogonal", "regularize"), ("directions.w_mk",))
    features: int | None = None
    "M; K·⌊ln K⌋ unless given, whole blocks of K orthogonal directions: 256 for K = 64."
    kind: Literal["positive", "hyperbolic", "trigonometric", "relu"] = "positive"
    "Which features: see `favor`."
    orthogonal: bool = True
    "Whether random directions are orthogonal within each block of K, for a smaller error, or independent."
    redraw: int | None = 1000
    "Training steps between draws of new directions; None keeps the first. Never in eval mode."
    regularize: bool = False
    "Whether all directions are √K long, which makes the kernel the paper's regularised softmax, or as Gaussian ones."
    bias: bool = False
    "Whether the projections have one."

    def check(self) -> None:
        self.linear()

    @property
    def abilities(self) -> frozenset[str]:
        """All of `can` that linear attention has with these features."""
        return self.can & self.linear().abilities

    def linear(self) -> Linear:
        """Return the same mixer, spelt out."""
        feature = Favor(
            features=self.features,
            kind=self.kind,
            orthogonal=self.orthogonal,
            redraw=self.redraw,
            regularize=self.regularize,
        )
        return Linear(feature=feature, bias=self.bias)

    def growth(self) -> float:
        return 1.0

    def module(self, site: Site) -> MixerModule:
        return self.linear().module(site)
