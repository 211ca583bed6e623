"""A mixer in a layer that has a window of its own: it sees what lies in both."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

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


def own_windows(config: Any) -> list[int | None]:
    """Return the window of each layer, as a configuration of Hugging Face's tells it; None for a layer without one."""
    width: int | None = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None) or ["sliding_attention"] * config.num_hidden_layers
    return [width if kind == "sliding_attention" else None for kind in kinds]
