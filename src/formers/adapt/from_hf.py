"""Pretrained models as models of this library, and back: the same function, checked on the spot."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForCausalLM, PreTrainedModel

from formers.adapt.families import FAMILIES, Family
from formers.models import CausalLM, Transformer
from formers.models.pretrained import FormersModel
from formers.part import Unsupported, evaluating

_TOKENS = 12
"""Tokens of each of the two rows of the check; a third of the second one is padding."""
_ROUNDINGS = {"float32": 256, "half": 16}
"""How many roundings two ways through a model may lie apart, relative to the largest output: of float32, also in
float64 as rotations are float32 in Hugging Face's code; or of the half type, of which more would find nothing."""


def from_hf(model: PreTrainedModel) -> FormersModel:
    """Return a pretrained model as one of this library: the same weights, and the same outputs to rounding.

        ours = from_hf(AutoModelForCausalLM.from_pretrained(path))       # a CausalLM
        longer = convert_weights(ours, ours.config.swap(mixer="longformer(window=256)"))

    Backbones become a `Transformer`, causal language models a `CausalLM`; other heads are left to `model.base_model`.
    Families: Llama (SmolLM too), Mistral, Qwen2, GPT-2, BERT, RoBERTa and XLM-R, DistilBERT. Of BERT's token types the
    first is taken into the positions; a pooler is left out, with a warning.

    Both models are run on a few tokens, with padding. Raise ValueError if they differ by more than rounding, and
    Unsupported for another family, an option that ours cannot follow, quantised weights, or code of its own.
    """
    family = _family(model)
    config = family.config(model.config)
    backbone = model if model.base_model is model else model.base_model
    ours = _as_ours(family, backbone, model.config)
    made: FormersModel
    if backbone is model:
        made = Transformer(config).to(model.device, model.dtype)
        _load(made, ours)
    elif type(model).__name__.endswith(("ForCausalLM", "LMHeadModel")):
        made = CausalLM(config).to(model.device, model.dtype)
        head = model.get_output_embeddings().weight.detach()
        _load(made, {f"model.{name}": weight for name, weight in ours.items()} | {"lm_head.weight": head})
    else:
        raise Unsupported(f"{type(model).__name__} has a head that is not known here; give its base_model")
    made.train(model.training)
    check_same_outputs(model, made)
    return made


def to_hf(model: FormersModel, config: Any) -> PreTrainedModel:
    """Return a model of this library as one of Hugging Face's with this configuration, with the same outputs.

        to_hf(ours, AutoConfig.from_pretrained(path)).save_pretrained("back")

    The configuration is that of the model that it came from. Raise Unsupported where that family's attention is not
    this model's, so after a conversion to another mixer, or where the way back is not known (BERT's token types).
    """
    family = FAMILIES.get(config.model_type)
    if family is None or family.to_theirs is None:
        back = [name for name, one in FAMILIES.items() if one.to_theirs is not None]
        raise Unsupported(f"there is no way back to {config.model_type}; known: {', '.join(back)}")
    wanted = family.config(config)
    for option in ("width", "depth", "heads", "vocab_size", "mixer", "position", "residual", "norm", "ffn"):
        if getattr(model.config, option) != getattr(wanted, option):
            raise Unsupported(
                f"{config.model_type} has {option}={getattr(wanted, option)}, but the model "
                f"{option}={getattr(model.config, option)}: Hugging Face's code would compute something else"
            )
    auto = AutoModelForCausalLM if isinstance(model, CausalLM) else AutoModel
    theirs: PreTrainedModel = auto.from_config(config).to(model.device, model.dtype).train(model.training)
    weights = {name.removeprefix("model."): weight for name, weight in model.state_dict().items()}
    head = weights.pop("lm_head.weight", None)
    backbone = theirs.base_model
    laid_out = family.to_ours({n: w.detach() for n, w in backbone.state_dict().items()}, config)
    named = {name: weights[ours] for name in laid_out if (ours := family.our_name(name)) is not None}
    backbone.load_state_dict(family.to_theirs(named, config))
    if head is not None and not config.tie_word_embeddings:
        theirs.get_output_embeddings().weight.data.copy_(head)
    check_same_outputs(theirs, model)
    return theirs


def check_same_outputs(theirs: PreTrainedModel, ours: FormersModel) -> float:
    """Return the largest difference between outputs, relative to the largest output, on a few tokens with padding.

    Raise ValueError if it is more than rounding.
    """
    ids = torch.arange(2 * _TOKENS, device=theirs.device).view(2, _TOKENS) % (theirs.config.vocab_size - 5) + 5
    mask = torch.ones_like(ids)
    mask[1, -_TOKENS // 3 :] = 0
    ids = ids.masked_fill(mask == 0, theirs.config.pad_token_id or 0)
    with evaluating(theirs), evaluating(ours):
        want, got = (model(input_ids=ids, attention_mask=mask)[0] for model in (theirs, ours))
    real = mask.bool()
    difference = float((got - want)[real].abs().max() / want[real].abs().max())
    eps, single = torch.finfo(want.dtype).eps, torch.finfo(torch.float32).eps
    allowed = _ROUNDINGS["half"] * eps if eps > single else _ROUNDINGS["float32"] * single
    if not difference <= allowed:
        raise ValueError(
            f"{type(theirs).__name__} and {type(ours).__name__} with its weights differ by {difference:.1e} of the "
            f"largest output, where rounding makes up to {allowed:.1e}: its family is not quite what is known here"
        )
    return difference


def _family(model: PreTrainedModel) -> Family:
    """Return the family of a model. Raise Unsupported for one that is not known, or whose weights are not numbers."""
    kind = model.config.model_type
    if not type(model).__module__.startswith("transformers."):
        raise Unsupported(
            f"{type(model).__name__} has code of its own ({type(model).__module__}), which may do anything"
        )
    if kind not in FAMILIES:
        raise Unsupported(f"models of type {kind!r} are not known here; known: {', '.join(FAMILIES)}")
    odd = [name for name, weight in model.named_parameters() if not weight.is_floating_point()]
    if getattr(model, "is_quantized", False) or odd:
        raise Unsupported(f"{type(model).__name__} has quantised weights; load it dequantised (dtype=torch.float32)")
    return FAMILIES[kind]


def _as_ours(family: Family, backbone: nn.Module, config: Any) -> dict[str, Tensor]:
    """Return the weights of a backbone under our names, and warn of those that are left out."""
    weights = family.to_ours({name: weight.detach() for name, weight in backbone.state_dict().items()}, config)
    names = {name: family.our_name(name) for name in weights}
    if left := [name for name, ours in names.items() if ours is None]:
        warnings.warn(f"left out, as our models have no such part: {', '.join(left)}", stacklevel=3)
    return {ours: weights[name] for name, ours in names.items() if ours is not None}


def _load(model: FormersModel, weights: dict[str, Tensor]) -> None:
    """Load weights, all of them and nothing else. Raise Unsupported where some have no place, or some are missing."""
    own = model.state_dict()
    if own.keys() != weights.keys():
        differing = sorted(own.keys() ^ weights.keys())
        raise Unsupported(f"weights without a counterpart: {', '.join(differing[:5])}")
    model.load_state_dict(weights)
