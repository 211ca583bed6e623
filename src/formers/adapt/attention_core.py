"""Mixers without their projections: what they do with queries, keys and values that a foreign model makes."""

from __future__ import annotations

from dataclasses import fields
from functools import lru_cache

import torch

from formers.mixers import Mixer
from formers.mixers.qkv import HeadMixer, QkvMixer
from formers.part import Site, Unsupported, default_of, seeded

_CPU = torch.device("cpu")
_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj")


@lru_cache(maxsize=1024)
def attention_core(
    mixer: Mixer,
    *,
    heads: int,
    head_width: int,
    causal: bool,
    layer: int,
    longest: int,
    device: torch.device = _CPU,
) -> HeadMixer:
    """Return the mixer's module on a device, for queries, keys and values that are there already, without any weight.

    It serves passes with gradients, too, whichever asks for it first.

    Raise Unsupported for a mixer that needs more than these: weights of its own, or the hidden states.
    """
    _check_options(mixer)
    site = Site(
        width=heads * head_width,
        heads=heads,
        causal=causal,
        context_length=longest,
        layer=layer,
        layers=layer + 1,
    )
    # random features are the same in every process and on every device, and others in every layer
    with torch.inference_mode(False), torch.device("cpu"), seeded(layer):
        module = mixer.build(site).to(device)
    if not isinstance(module, QkvMixer) or _makes_more_than_usual(module):
        raise Unsupported(f"{mixer} cannot stand in for a model's attention: {_WHY_NOT}")
    for name in _PROJECTIONS:
        delattr(module, name)
    if own := [name for name, _ in module.named_parameters()]:
        raise Unsupported(f"{mixer} cannot stand in for a model's attention: {_WHY_NOT}, but it has {', '.join(own)}")
    return module.eval()


_WHY_NOT = (
    "the model hands over queries, keys and values and knows no other weights; take softmax(), a pattern such as "
    "window(128), linear(feature=…) or performer()"
)


_OF_PROJECTIONS = ("bias", "kv_heads")


def _check_options(mixer: Mixer) -> None:
    """Raise ValueError for options of projections: those are the model's own, and would be ignored."""
    set_ones = [
        field.name
        for field in fields(mixer)
        if field.name in _OF_PROJECTIONS and getattr(mixer, field.name) != default_of(field)
    ]
    if set_ones:
        raise ValueError(
            f"{mixer}: {' and '.join(set_ones)} would be ignored, since the model keeps its own projections; leave "
            "it out, or make a model of this library with formers.adapt.convert"
        )


def shares_keys(mixer: Mixer) -> bool:
    """Return whether several query heads may share the keys and values of one."""
    return any(field.name == "kv_heads" for field in fields(mixer))


def _makes_more_than_usual(module: QkvMixer) -> bool:
    """Return whether a mixer does more with hidden states than the usual projections."""
    kind = type(module)
    usual = (kind.project, kind.queries, kind.keys_values, kind.finish, kind.mix)
    return usual != (QkvMixer.project, QkvMixer.queries, QkvMixer.keys_values, HeadMixer.finish, HeadMixer.mix)
