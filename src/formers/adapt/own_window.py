"""A mixer in a layer that has a window of its own: it sees what lies in both."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from formers.mixers import Mixer, Softmax, Sparse
from formers.part import Unsupported
from formers.patterns import Window


@lru_cache(maxsize=1024)
def in_window(mixer: Mixer, window: int | None) -> Mixer:
    """Return the mixer over those of its pairs that are in a window; the mixer itself without one.

    Raise Unsupported for a mixer without a pattern.
    """
    if window is None:
        return mixer
    own = Window(window)
    if type(mixer) is Softmax:
        return Sparse(pattern=own)
    if type(mixer) is not Sparse:
        raise Unsupported(
            f"{mixer} has no pattern, and the layer sees a window of {window} tokens of its own; give such layers "
            "softmax() or a pattern, as in a list of a mixer for each layer. Where the configuration has no "
            "layer_types, config.sliding_window=None takes the window away"
        )
    if mixer.per_head:
        return replace(mixer, per_head=tuple(one & own for one in mixer.per_head))
    return replace(mixer, pattern=mixer.pattern & own)
