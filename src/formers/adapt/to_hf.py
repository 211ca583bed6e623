"""Models of this library as models of Hugging Face, where these compute the same."""

from __future__ import annotations

from typing import Any

from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedModel,
)

from formers.adapt.families import FAMILIES, Family
from formers.adapt.families.family import Head, our_name
from formers.adapt.given_model import check_given_model
from formers.adapt.same_outputs import check_same_outputs
from formers.models import CausalLM, MaskedLM, SequenceClassifier, TokenClassifier, Transformer, TransformerConfig
from formers.models.idle_options import mean_the_same
from formers.models.pretrained import FormersModel
from formers.part import Unsupported

_LOADERS: dict[type[FormersModel], Any] = {
    Transformer: AutoModel,
    CausalLM: AutoModelForCausalLM,
    MaskedLM: AutoModelForMaskedLM,
    SequenceClassifier: AutoModelForSequenceClassification,
    TokenClassifier: AutoModelForTokenClassification,
}
_SIZES = ("width", "depth", "heads", "vocab_size", "context_length", "head_width", "token_types", "tie_word_embeddings")
_PARTS = (
    "mixer",
    "position",
    "residual",
    "norm",
    "ffn",
    "qk_norm",
    "embedding_norm",
    "final_norm",
    "memory",
    "computation",
)
_HEADS = ("head_transform", "head_bias", "num_labels")


def to_hf(model: FormersModel, config: Any) -> PreTrainedModel:
    """Return a model of this library as one of Hugging Face's with this configuration, weight for weight.

        to_hf(ours, AutoConfig.from_pretrained(path)).save_pretrained("back")

    The configuration is that of the model that it came from; of longer positions, `max_position_embeddings` has to be
    set in it, and of scaled ones their scaling. Outputs are compared as in `from_hf`. Raise Unsupported
    where that family's attention is not this model's, so after a conversion to another mixer, and for a family or head
    that is not known.
    """
    check_given_model(model)
    if config.model_type not in FAMILIES:
        raise Unsupported(f"there is no way back to {config.model_type!r}; known: {', '.join(FAMILIES)}")
    family, loader = FAMILIES[config.model_type], _LOADERS.get(type(model))
    if loader is None:
        raise Unsupported(f"there is no way back for a {type(model).__name__}; give its backbone, model.model")
    theirs = _new(loader, config, model)
    head = None if theirs.base_model is theirs else family.head_of(type(theirs).__name__)
    _check_config(model.config, family, head, config)
    _fill(theirs, model, family, head)
    check_same_outputs(theirs, model)
    return theirs


def _new(loader: Any, config: Any, model: FormersModel) -> PreTrainedModel:
    """Return their model, of new weights, without a pooler where ours has none."""
    bare = type(model) is Transformer and model.config.pooler is None and hasattr(config, "type_vocab_size")
    options = {"add_pooling_layer": False} if bare else {}
    theirs: PreTrainedModel = loader.from_config(config, **options)
    return theirs.to(model.device, model.dtype).train(model.training)


def _check_config(ours: TransformerConfig, family: Family, head: Head | None, theirs: Any) -> None:
    """Raise Unsupported where Hugging Face's code would compute something else than our model."""
    wanted = family.config(theirs)
    wanted = wanted if head is None else wanted.swap(**head.options(theirs))
    names = [*_SIZES, *_PARTS, *(() if head is None else _HEADS)]
    if ours.pooler is not None:
        wanted = wanted.swap(pooler="tanh" if head is None else head.pooler)
        names.append("pooler")
    for name in names:
        if not mean_the_same(getattr(ours, name), getattr(wanted, name)):
            raise Unsupported(
                f"{theirs.model_type} has {name}={getattr(wanted, name)}, but the model {name}={getattr(ours, name)}: "
                "Hugging Face's code would compute something else"
            )


def _fill(theirs: PreTrainedModel, model: FormersModel, family: Family, head: Head | None) -> None:
    """Copy all our weights into their model. Raise Unsupported where one has no place, or none is there for another."""
    weights = {name: weight.detach() for name, weight in model.state_dict().items()}
    backbone, under = theirs.base_model, "" if head is None else "model."
    laid_out = family.to_ours({name: weight.detach() for name, weight in backbone.state_dict().items()}, theirs.config)
    inside = {name: f"{under}{our_name(name, family.names)}" for name in laid_out}
    own = {} if head is None else theirs.state_dict()
    outside = {
        name: str(our_name(name, head.names))
        for name in own
        if head is not None and not name.startswith(f"{theirs.base_model_prefix}.")
    }
    if odd := {*inside.values(), *outside.values()} ^ weights.keys():
        raise Unsupported(f"{type(theirs).__name__} and the model differ in {', '.join(sorted(odd)[:5])}")
    backbone.load_state_dict(family.to_theirs({name: weights[ours] for name, ours in inside.items()}, theirs.config))
    for name, ours in outside.items():
        own[name].copy_(weights[ours])
    theirs.tie_weights()
