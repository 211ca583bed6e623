"""A part as a picture: its pattern of pairs, or the weights that it gives on a short text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from formers.cli.part_patterns import directions_of, drawn_tokens, patterns_of

if TYPE_CHECKING:
    from formers.part import Part

_EXAMPLE_TOKENS = 32
"""Tokens of the text that weights are drawn on."""


def can_be_drawn(part: Part) -> bool:
    """Return whether the part has a pattern, or gives weights or changes them: mixers, features and positions."""
    from formers.mixers import Mixer
    from formers.mixers.feature_maps import FeatureMap
    from formers.positions import Position

    return isinstance(part, (Mixer, FeatureMap, Position)) or bool(patterns_of(part))


def draw_part(part: Part, length: int | None, path: Path) -> None:
    """Write the picture of a part that can be drawn, of so many tokens; of as many as show it without a length.

    A feature is drawn in linear attention, a position in softmax attention.
    """
    from formers.cli.mask_image import save_masks
    from formers.cli.weights_image import save_weights
    from formers.mixers import Mixer, Softmax
    from formers.mixers.feature_maps import FeatureMap
    from formers.positions import Position

    if patterns := patterns_of(part):
        save_masks(str(part), patterns, directions_of(part), drawn_tokens(patterns, length), path)
        return
    of_feature = Mixer.parse(f"linear(feature={part})") if isinstance(part, FeatureMap) else Softmax()
    mixer = part if isinstance(part, Mixer) else of_feature
    position = part if isinstance(part, Position) else None
    save_weights(mixer, position, directions_of(mixer), length or _EXAMPLE_TOKENS, path)
