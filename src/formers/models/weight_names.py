"""Names of weights: what their ends mean, and whose they are."""

from __future__ import annotations

import re
from collections.abc import Iterable

from formers.mixers import Mixer
from formers.models.config import TransformerConfig
from formers.models.seq2seq_config import Seq2SeqConfig

_PLACE = re.compile(r"(?:\b(?:encoder|decoder)\.)?\blayers\.\d+\.(?:block\.mixer|mixer|cross)\.")
"""The place of a mixer within the name of a weight."""


def named_by(end: str, names: Iterable[str]) -> list[str]:
    """Return the names that an end means: `gate_h` means `layers.3.mixer.gate_h`, but not `layers.3.mixer.big_gate_h`.

    An end is the last names in a dotted path, each whole, up to all of them.
    """
    return [name for name in names if f".{name}".endswith(f".{end}")]


def mixers_by_place(config: TransformerConfig) -> dict[str, Mixer]:
    """Return the mixer at each place of a model, of an encoder–decoder those of both stacks and of cross-attention.

    A place is the beginning of weights' names within the backbone, such as `layers.3.mixer.`.
    """
    if not isinstance(config, Seq2SeqConfig):
        return {f"layers.{layer}.mixer.": config.mixer_at(layer) for layer in range(config.site().layers)}
    encoder, layers = config.encoder(), range(config.site().layers)
    return {
        **{f"encoder.{place}": mixer for place, mixer in mixers_by_place(encoder).items()},
        **{f"decoder.layers.{layer}.block.mixer.": config.mixer_at(layer) for layer in layers},
        **{f"decoder.layers.{layer}.cross.": config.cross for layer in layers},
    }


def place_of(name: str) -> str | None:
    """Return the place of the mixer that a weight belongs to; None if it belongs to none."""
    found = _PLACE.search(name)
    return None if found is None else found[0]
