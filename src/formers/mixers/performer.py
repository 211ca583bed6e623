"""Performer."""

from __future__ import annotations

from typing import Literal

from formers.mixers.favor import Favor
from formers.mixers.linear import Linear
from formers.mixers.mixer import Mixer, MixerModule
from formers.part import Site


class Performer(Mixer):
    """Softmax attention in linear time, on average: `linear(feature=favor(…))` under its own name.

    O(L·M·K) time; streams with a state of M·V + M numbers per head. The error falls as 1/√M.
    Source: Choromanski et al. 2021 (FAVOR+), arXiv:2009.14794.
    """

    can = Linear.can
    features: int | None = None
    "M; about K·ln K unless given."
    kind: Literal["positive", "hyperbolic", "trigonometric", "relu"] = "positive"
    "Which features: see `favor`."
    orthogonal: bool = True
    "Whether random directions are orthogonal within each block of K, for a smaller error, or independent."
    redraw: int | None = 1000
    "Training steps between draws of new directions; None keeps the first. Never in eval mode."

    def check(self) -> None:
        self.linear()

    def linear(self) -> Linear:
        """Return the same mixer, spelt out."""
        return Linear(
            feature=Favor(features=self.features, kind=self.kind, orthogonal=self.orthogonal, redraw=self.redraw)
        )

    def growth(self) -> float:
        return 1.0

    def module(self, site: Site) -> MixerModule:
        return self.linear().module(site)
