"""Pretrained models as models of this library: the same function, checked on the spot."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from formers.adapt.families import FAMILIES, Family
from formers.adapt.families.family import Head, our_name
from formers.adapt.families.others import what_differs
from formers.adapt.given_model import check_given_model
from formers.adapt.same_outputs import check_same_outputs
from formers.models import Transformer, TransformerConfig
from formers.models.pretrained import FormersModel
from formers.part import Unsupported, warn_caller


def from_hf(model: PreTrainedModel) -> FormersModel:
    """Return a pretrained model as one of this library: the same weights, and the same outputs to rounding.

        ours = from_hf(AutoModelForCausalLM.from_pretrained(path))       # a CausalLM
        ours = from_hf(AutoModelForMaskedLM.from_pretrained(path))       # a MaskedLM

    Backbones become a `Transformer`, causal language models a `CausalLM`; masked language models and classifiers of
    BERT's kind a `MaskedLM`, `SequenceClassifier` or `TokenClassifier`; other heads are left to `model.base_model`.
    Families: Llama (SmolLM too), Mistral, Ministral, Qwen2, Qwen3, Phi-3 and Phi-4, GPT-2, BERT, RoBERTa and XLM-R,
    DistilBERT. Layers that see a window keep it, as a pattern. Dropout is that of hidden states; attention weights are
    never formed here, so that none of them is dropped in training.

    Both models are run on a few tokens, with padding and types. Raise ValueError if they differ by more than rounding,
    or if weights that should be tied differ, and Unsupported for another family or head, an option that ours cannot
    follow, quantised weights, or code of its own; TypeError for what is no model.
    """
    check_given_model(model)
    family = _family(model)
    head = None if model.base_model is model else family.head_of(type(model).__name__)
    weights = _weights(family, head, model)
    config = _config(family, head, model.config, weights)
    kind = Transformer if head is None else head.model
    made = kind(config).to(model.device, model.dtype)
    _load(made, weights)
    if made.can_generate() and model.can_generate():
        made.generation_config = copy.deepcopy(model.generation_config)
    made.made_from = model.name_or_path
    made.train(model.training)
    check_same_outputs(model, made)
    return made


def _family(model: PreTrainedModel) -> Family:
    """Return the family of a model. Raise Unsupported for one that is not known, or whose weights are not numbers."""
    kind = model.config.model_type
    if not type(model).__module__.startswith("transformers."):
        raise Unsupported(
            f"{type(model).__name__} has code of its own ({type(model).__module__}), which may do anything"
        )
    if kind not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise Unsupported(f"models of type {kind!r} are not known here; known: {known}.{what_differs(kind)}")
    # not `is_quantized`, which is True of models from GGUF files, too, whose weights are numbers again
    if not all(map(_is_numbers, model.state_dict().values())):
        raise Unsupported(
            f"{type(model).__name__} has quantised weights, which cannot be changed; load it dequantised, without "
            "quantization_config and with dtype=torch.float32 or torch.bfloat16 (of a GGUF file: gguf_file=…)"
        )
    if any(weight.is_meta for weight in model.parameters()):
        raise Unsupported(f"{type(model).__name__} has weights that are not in memory; load it without device_map")
    return FAMILIES[kind]


def _is_numbers(weight: Tensor) -> bool:
    """Return whether a weight is a plain tensor of floating-point numbers, of which one stands for one."""
    return weight.is_floating_point() and weight.element_size() > 1 and type(weight.data) is Tensor


def _weights(family: Family, head: Head | None, model: PreTrainedModel) -> dict[str, Tensor]:
    """Return the weights of a model under our names, and warn of those that are left out."""
    backbone = {name: weight.detach() for name, weight in model.base_model.state_dict().items()}
    under = "" if head is None else "model."
    named = [
        (name, our_name(name, family.names), under, weight)
        for name, weight in family.to_ours(backbone, model.config).items()
    ]
    if head is not None:
        named += [
            (name, our_name(name, head.names), "", weight.detach())
            for name, weight in model.state_dict().items()
            if not name.startswith(f"{model.base_model_prefix}.")
        ]
    if left := [name for name, ours, _, _ in named if ours is None]:
        warn_caller(f"left out, as our models have no such part: {', '.join(left)}")
    return {under + ours: weight for _, ours, under, weight in named if ours is not None}


def _config(family: Family, head: Head | None, theirs: Any, weights: dict[str, Tensor]) -> TransformerConfig:
    """Return our configuration of a model with these weights."""
    config = family.config(theirs)
    options = {} if head is None else head.options(theirs)
    if any(".pooler." in f".{name}" for name in weights):
        options |= {"pooler": "tanh" if head is None else head.pooler}
    special = {name: getattr(theirs, name, None) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    return config.swap(**options, **special)


def _load(model: FormersModel, weights: dict[str, Tensor]) -> None:
    """Load weights, all of them and nothing else.

    Raise Unsupported where some have no place, or some are missing; ValueError where weights are tied, but differ.
    """
    own = model.state_dict()
    if own.keys() != weights.keys():
        differing = sorted(own.keys() ^ weights.keys())
        raise Unsupported(f"weights without a counterpart: {', '.join(differing[:5])}")
    for name, source in (getattr(model, "all_tied_weights_keys", None) or {}).items():
        if not torch.equal(weights[name], weights[source]):
            raise ValueError(
                f"the model's configuration ties its output projection to its embedding, but their weights differ "
                f"({name}); set config.tie_word_embeddings=False if they are meant to"
            )
    model.load_state_dict(weights)
