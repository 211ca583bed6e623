"""Another mixer in a trained model, whichever library it is from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel

from formers.adapt.from_hf import from_hf
from formers.adapt.given_model import check_given_model
from formers.adapt.layer_mixers import Layers, MixerChoice, layer_mixers, shortest_cycle
from formers.models import Conversion, TransformerConfig, convert_weights
from formers.models.drift import output_drift
from formers.models.fitting import Extension
from formers.models.pretrained import FormersModel
from formers.part import Unsupported
from formers.positions import Learned, Rotary

Positions = Literal["repeat", "interpolate", "linear", "ntk", "yarn"]
"""How positions reach farther: a table is repeated or stretched, rotations are scaled."""
_DRIFT_TOKENS = 256
"""Tokens that the drift is measured on, unless some are given."""


def convert(
    model: PreTrainedModel,
    mixer: MixerChoice | Sequence[MixerChoice] | Mapping[Layers, MixerChoice] | None = None,
    *,
    context_length: int | None = None,
    positions: Positions | None = None,
    trained_length: int | None = None,
    bias: bool = True,
    input_ids: Tensor | None = None,
    strict: bool = False,
    fresh: Sequence[str] = (),
) -> Conversion:
    """Return a trained model with another mixer in some or all layers, and the report on it.

        made = convert(model, "window(128) | sinks(4)")                         # in every layer
        made = convert(model, ["linear(feature=hedgehog)", "softmax()"])       # in turn
        made = convert(model, {"8:": "linear()", 3: "window(64)"})             # the others keep theirs
        made = convert(bert, "longformer(window=[256])", context_length=4096)  # positions repeated
        print(made)                                                             # the weights' origin, and the drift
        made.model.save_pretrained("folder", tokenizer=tokenizer)

    Weights that have a counterpart are kept, as `convert_weights` tells: biases and shared heads of keys and values
    too, where the mixer can have them. Those that are new or dropped are named in a warning, and so are options that
    only set what a kept weight starts as.

    Args:
        model: of Hugging Face, of a family that `from_hf` knows, or of this library. It stays as it is.
        mixer: one for all layers, a list that is cycled over them, or a dictionary from layers (a number, or a slice
            as text) to mixers; None keeps all.
        context_length: the longest sequence that the new model promises to take; None: as before.
        positions: `repeat` (unless given) or `interpolate` for learned positions; `linear`, `ntk` or `yarn` for rotary
            ones, which otherwise turn on as they are.
        trained_length: the longest sequence that the model was trained on, where its configuration promises more;
            `positions` extend that one.
        bias: whether mixers get biases where those before had some.
        input_ids: tokens to measure the drift on, (B, L); None: 256 drawn ones, or as many as the model takes. Of a
            model without data, on the meta device, or one that reads no tokens, none is measured.
        strict: whether anything new, dropped or without effect is an error.
        fresh: names of weights, or their ends, that start as in a new model although the given one has them.

    Raise ValueError and Unsupported as `from_hf` and `convert_weights` do, and for positions that cannot be extended;
    TypeError for what is no model.
    """
    check_given_model(model)
    ours = model if isinstance(model, FormersModel) else from_hf(model)
    config = ours.config
    if mixer is not None:
        config = config.swap(mixer=shortest_cycle(layer_mixers(config, mixer, bias=bias)))
    extension: Extension = "interpolate" if positions == "interpolate" else "repeat"
    config = _extended(config, context_length, positions, trained_length)
    made = convert_weights(ours, config, strict=strict, extension=extension, replace=True, fresh=fresh)
    read = ours.example_inputs(1)  # of an encoder–decoder, a source and an output
    if ours.device.type == "meta" or ours.main_input_name not in read:
        return made
    ids = _tokens(ours.config, made.model.config) if input_ids is None else input_ids
    return replace(made, drift=output_drift(ours, made.model, dict.fromkeys(read, ids.to(ours.device))))


def _extended(
    config: TransformerConfig, length: int | None, how: Positions | None, trained: int | None
) -> TransformerConfig:
    """Return the configuration for longer sequences. Raise ValueError where positions cannot be extended like that."""
    part, before = config.position, config.context_length if trained is None else trained
    if trained is not None and (how is None or isinstance(part, Learned) or not 0 < trained <= config.context_length):
        raise ValueError(
            f"trained_length={trained} is for rotary positions that are to be scaled, positions='linear', 'ntk' or "
            f"'yarn', and at most the {config.context_length} tokens of the model; but {part} and positions={how!r} "
            "were given"
        )
    if how is None:
        return config if length is None else config.swap(context_length=length)
    if length is None or length <= before:
        raise ValueError(
            f"positions={how!r} is for longer sequences than the {before} tokens of the model; give a context_length, "
            "and a trained_length where it was trained on fewer"
        )
    if isinstance(part, Learned) and how in ("repeat", "interpolate"):
        return config.swap(context_length=length)
    if not isinstance(part, Rotary) or how in ("repeat", "interpolate"):
        ways = {Learned: "repeat or interpolate", Rotary: "linear, ntk or yarn"}
        known = ways.get(type(part), "nothing, as it needs no extension or has none; leave it out")
        raise ValueError(f"positions={how!r} does not extend {part}; for it there is {known}")
    if part.scaling != "none":
        raise Unsupported(f"{part} is scaled already; set another factor with config.swap(position=…)")
    known_length: dict[str, Any] = {"trained_length": before} if how == "yarn" else {}
    scaled = part.swap(scaling=how, factor=length / before, **known_length)
    return config.swap(context_length=length, position=scaled)


def _tokens(before: TransformerConfig, after: TransformerConfig) -> Tensor:
    """Return drawn tokens that both models take, (1, L), the same ones every time."""
    length = min(_DRIFT_TOKENS, before.context_length, after.context_length)
    return torch.randint(before.vocab_size, (1, length), generator=torch.Generator().manual_seed(0))
