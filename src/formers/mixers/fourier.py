"""FNet's mixing."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from formers.mixers.context import Context
from formers.mixers.mixer import Mixer, MixerModule
from formers.ops import fourier_mix, read_once
from formers.part import Site, State, Unsupported


class Fourier(Mixer):
    """Re(F_length F_width x): the real part of an unnormalised two-dimensional Fourier transform. No parameters.

    With a gain it is g ⊙ Re(F_length F_width x) / √(L·D), where g (D) is learned: the transform is as large as x, and
    takes the place of trained attention without drowning the residual stream, whatever the length.

    O(L·D·(log L + log D)). Bidirectional only, and padding mixes in: batch sequences of equal length together.
    Source: Lee-Thorp et al. 2021 (FNet), arXiv:2105.03824; it has no gain.
    """

    added: ClassVar[dict[str, None]] = {"gain": None}
    starts: ClassVar[dict[str, tuple[str, ...]]] = {"gain": ("gain",)}
    gain: float | None = None
    "What the learned factor of each channel starts as; None is FNet's transform, without factors."

    can = frozenset({"bidirectional"})
    instead = {  # noqa: RUF012
        "causal": "a Fourier transform mixes every token with every other. Use pool(), linear() or softmax() in a "
        "causal model, or fourier() in a bidirectional one: a masked language model or a classifier"
    }

    def check(self) -> None:
        if self.gain is not None and not math.isfinite(self.gain):
            raise ValueError(f"fourier: gain must be a finite number or None, but {self.gain} was given")

    def growth(self) -> float:
        return 1.0  # and a factor log L

    def module(self, site: Site) -> MixerModule:
        return FourierMixer(site, self.gain)


class FourierMixer(MixerModule):
    def __init__(self, site: Site, gain: float | None):
        super().__init__(site)
        self.start = gain
        self.gain = None if gain is None else nn.Parameter(torch.full((site.width,), gain))

    def init_weights(self, std: float) -> None:
        """Set the gain to what it starts as."""
        if self.gain is not None and self.start is not None:
            nn.init.constant_(self.gain, self.start)

    def mix(self, context: Context) -> tuple[Tensor, State | None]:
        mask_bl = context.mask_bl
        if mask_bl is not None and not read_once(mask_bl, "all", lambda t: bool(t.all())):
            raise Unsupported(
                "fourier() cannot leave out padding: a Fourier transform mixes every token of a row into every other, "
                f"but the mask hides {int((~mask_bl).sum())} of {mask_bl.numel()} tokens. Batch sequences of equal "
                "length together (a sampler grouped by length), or use a mixer that can: softmax(), linear(), "
                "dense(), pool()"
            )
        y_bld = fourier_mix(context.x_bld)
        return y_bld if self.gain is None else self._scaled(y_bld), None

    def _scaled(self, y_bld: Tensor) -> Tensor:
        assert self.gain is not None
        _, length, width = y_bld.shape
        return y_bld * (self.gain * (length * width) ** -0.5)

    def _mix_padding(self, x_bld: Tensor, mask_bl: Tensor) -> Tensor:
        zeros = super()._mix_padding(x_bld, mask_bl)
        return zeros if self.gain is None else self._scaled(zeros)  # its gradient, zero, is there on every rank
