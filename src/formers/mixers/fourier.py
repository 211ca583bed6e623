"""FNet's mixing."""

from __future__ import annotations

from torch import Tensor

from formers.mixers.context import Context
from formers.mixers.mixer import Mixer, MixerModule
from formers.ops import fourier_mix, read_once
from formers.part import Site, State, Unsupported


class Fourier(Mixer):
    """Re(F_length F_width x): the real part of an unnormalised two-dimensional Fourier transform. No parameters.

    O(L·D·(log L + log D)). Bidirectional only, and padding mixes in: batch sequences of equal length together.
    Source: Lee-Thorp et al. 2021 (FNet), arXiv:2105.03824.
    """

    can = frozenset({"bidirectional"})
    instead = {  # noqa: RUF012
        "causal": "a Fourier transform mixes every token with every other. Use pool(), linear() or softmax() in a "
        "causal model, or fourier() in a bidirectional one: a masked language model or a classifier"
    }

    def growth(self) -> float:
        return 1.0  # and a factor log L

    def module(self, site: Site) -> MixerModule:
        return FourierMixer(site)


class FourierMixer(MixerModule):
    def mix(self, context: Context) -> tuple[Tensor, State | None]:
        mask_bl = context.mask_bl
        if mask_bl is not None and not read_once(mask_bl, "all", lambda t: bool(t.all())):
            raise Unsupported(
                "fourier() cannot leave out padding: a Fourier transform mixes every token of a row into every other, "
                f"but the mask hides {int((~mask_bl).sum())} of {mask_bl.numel()} tokens. Batch sequences of equal "
                "length together (a sampler grouped by length), or use a mixer that can: softmax(), linear(), "
                "dense(), pool()"
            )
        return fourier_mix(context.x_bld), None
