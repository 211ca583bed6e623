"""A mixer per layer, from a cycle or from a dictionary of layers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from formers.mixers import Mixer
from formers.models import TransformerConfig
from formers.part import quoted
from formers.patterns import Pattern

MixerChoice = str | Mixer | Pattern
"""A mixer, as a part or as text; a pattern means `sparse` over it."""
Layers = int | str
"""One layer, counted from the end where it is negative, or layers as text: a number, a slice ("8:", ":4", "::2"), or
several of these with commas."""
_SLICE = re.compile(r"\s*(-?\d+)?\s*:\s*(-?\d+)?\s*(?::\s*(-?\d+)?\s*)?")


def layer_mixers(
    config: TransformerConfig, mixer: MixerChoice | Sequence[MixerChoice] | Mapping[Layers, MixerChoice], *, bias: bool
) -> list[Mixer]:
    """Return the mixer of each layer of a model in which some are exchanged.

    A mixer takes all layers, a list is cycled over them, and a dictionary names layers: of several entries for one
    layer the last one counts, and layers that none names keep their mixer. A new mixer gets as many heads of keys and
    values as the one whose place it takes, where it has that option and does not choose; and with `bias` biases, too.

    Raise ValueError for layers that there are not, and TypeError for what is none of these.
    """
    if not isinstance(mixer, str | Mixer | Pattern | Mapping | Sequence):
        raise TypeError(
            f"mixer must be a mixer, a list of them or a dictionary from layers to mixers, but {quoted(mixer)} "
            f"({type(mixer).__name__}) was given; write one as text, such as 'linear()', or as a part"
        )
    before = [config.mixer_at(layer) for layer in range(config.depth)]
    after = list(before)
    if isinstance(mixer, Mapping):
        for layers, one in mixer.items():
            for layer in layer_numbers(layers, config.depth):
                after[layer] = _part(config, one)
    else:
        cycle: list[MixerChoice] = [mixer] if isinstance(mixer, str | Mixer | Pattern) else list(mixer)
        if not 1 <= len(cycle) <= config.depth:
            raise ValueError(f"{len(cycle)} mixers were given for {config.depth} layers; give from 1 to {config.depth}")
        after = [_part(config, cycle[layer % len(cycle)]) for layer in range(config.depth)]
    pairs = zip(before, after, strict=True)
    return [new if new == old else _with_options(old, new, bias=bias) for old, new in pairs]


def shortest_cycle(mixers: list[Mixer]) -> Mixer | list[Mixer]:
    """Return the shortest list of mixers that is these when layers cycle through it; the mixer itself, if it is one."""
    depth = len(mixers)
    period = next(n for n in range(1, depth + 1) if all(mixers[i] == mixers[i % n] for i in range(depth)))
    return mixers[0] if period == 1 else mixers[:period]


def layer_numbers(layers: Layers, depth: int) -> list[int]:
    """Return the numbers of layers that a key of a dictionary means. Raise ValueError for layers that there are not."""
    return [number for text in str(layers).split(",") for number in _some_numbers(text.strip(), layers, depth)]


def _part(config: TransformerConfig, mixer: MixerChoice) -> Mixer:
    """Return a mixer from any form; those of a configuration, too."""
    part: Mixer = config.swap(mixer=mixer).mixer
    if not isinstance(part, Mixer):
        raise ValueError(f"one mixer is needed for a layer, but {quoted(mixer)} was given")
    return part


def _some_numbers(text: str, layers: Layers, depth: int) -> range | list[int]:
    """Return the numbers of layers that one word of a key means."""
    if re.fullmatch(r"-?\d+", text):
        number = int(text)
        if not -depth <= number < depth:
            raise ValueError(f"there is no layer {number}: the model has layers 0 to {depth - 1}")
        return [number % depth]
    found = _SLICE.fullmatch(text)
    if found is None or (found[3] is not None and int(found[3]) == 0):
        raise ValueError(
            f'{quoted(layers)} does not name layers; write a number, a slice such as "8:", ":4" or "::2", or "0,3,5:8"'
        )
    start, stop, step = (None if part is None else int(part) for part in found.groups())
    numbers = range(depth)[start:stop:step]
    if not numbers:
        raise ValueError(f"{quoted(layers)} names no layer: the model has layers 0 to {depth - 1}")
    return numbers


def _with_options(old: Mixer, new: Mixer, *, bias: bool) -> Mixer:
    """Return a mixer with the heads of keys and values, and the biases, of the one whose place it takes."""
    kept: dict[str, Any] = {}
    groups = getattr(old, "kv_heads", None)
    if groups is not None and getattr(new, "kv_heads", 0) is None:
        kept["kv_heads"] = groups
    if bias and getattr(old, "bias", False) and getattr(new, "bias", None) is False:
        kept["bias"] = True
    return new.swap(**kept) if kept else new
