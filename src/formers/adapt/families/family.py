"""What has to be known about a family of pretrained models to be one of its models."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor

from formers.ffn import ACTIVATIONS, Activation
from formers.models import CausalLM, SequenceClassifier, TokenClassifier, TransformerConfig
from formers.models.pretrained import FormersModel
from formers.part import Unsupported

Weights = dict[str, Tensor]
Names = tuple[tuple[str, str | None], ...]
"""(theirs, ours) of the names of weights, as pairs of regular expression and template, the first that matches whole.
Ours None: not part of the model, and left out."""


@dataclass(frozen=True)
class Head:
    """A head of a family's models, as one of ours.

    Attributes:
        model: our class.
        names: the names of weights outside the backbone.
        options: their configuration → the options that the head adds to ours.
        pooler: the activation of the pooler, where the model has one.
    """

    model: type[FormersModel]
    names: Names
    options: Callable[[Any], dict[str, Any]] = lambda theirs: {}
    pooler: Activation = "tanh"


def labels(theirs: Any) -> dict[str, Any]:
    """Return the options of a classifier."""
    return {"id2label": dict(theirs.id2label), "problem_type": theirs.problem_type}


CAUSAL_LM = Head(CausalLM, ((r"lm_head\.weight", r"lm_head.weight"),))
CLASSIFIER = (r"classifier\.(weight|bias)", r"score.\1")
SEQUENCES = Head(SequenceClassifier, (CLASSIFIER,), labels)
TOKENS = Head(TokenClassifier, (CLASSIFIER,), labels)


@dataclass(frozen=True)
class Family:
    """How models of one family are written in this library.

    Attributes:
        config: their configuration → ours. Raise Unsupported, naming it, for an option that ours cannot follow.
        names: the names of weights within the backbone.
        to_ours: weights under their names in their layout → in the layout of ours, still under their names.
        to_theirs: the way back.
        heads: the end of a class's name, such as `ForMaskedLM` → its head.
    """

    config: Callable[[Any], TransformerConfig]
    names: Names
    to_ours: Callable[[Weights, Any], Weights]
    to_theirs: Callable[[Weights, Any], Weights]
    heads: Mapping[str, Head] = field(default_factory=dict)

    def head_of(self, kind: str) -> Head:
        """Return the head of one of their classes. Raise Unsupported for one that is not known."""
        for ending, head in self.heads.items():
            if kind.endswith(ending):
                return head
        raise Unsupported(
            f"{kind} has a head that is not known here; known of its family: {', '.join(self.heads)}; or give its "
            "base_model, the model without the head"
        )


def our_name(name: str, names: Names) -> str | None:
    """Return our name of a weight; None for one that is left out. Raise Unsupported for an unknown one."""
    for pattern, ours in names:
        if found := re.fullmatch(pattern, name):
            return None if ours is None else found.expand(ours)
    raise Unsupported(f"the model has a weight {name!r} that is not part of its family as it is known here")


def cut(weights: Weights, whole: str, parts: Mapping[str, int]) -> Weights:
    """Return the weights with those of one module cut into rows of several, part → rows, in this order."""
    found: Weights = {}
    for name, weight in weights.items():
        if f".{whole}." not in name:
            found[name] = weight
            continue
        for part, rows in zip(parts, weight.split([*parts.values()]), strict=True):
            found[name.replace(whole, part)] = rows
    return found


def joined(weights: Weights, whole: str, parts: Mapping[str, int]) -> Weights:
    """Return the weights with those of several modules as rows of one: the way back from `cut`."""
    first, *others = parts
    found: Weights = {}
    for name, weight in weights.items():
        if f".{first}." in name:
            found[name.replace(first, whole)] = torch.cat([weights[name.replace(first, part)] for part in parts])
        elif not any(f".{part}." in name for part in others):
            found[name] = weight
    return found


def as_they_are(weights: Weights, config: Any) -> Weights:
    """Return weights whose layout is ours already."""
    return weights


def activation(config: Any, name: str) -> Activation:
    """Return our name of an activation. Raise Unsupported for one that ours do not have."""
    known = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "swish": "silu", "relu2": "squared_relu"}
    ours = known.get(name, name)
    if ours not in ACTIVATIONS:
        raise Unsupported(f"{config.model_type}: activation {name!r} is not one of {', '.join(ACTIVATIONS)}")
    return cast(Activation, ours)


def refuse(config: Any, options: Mapping[str, tuple[Any, str]]) -> None:
    """Raise Unsupported for the first option that is not as ours are: option → (the value that is, what it does)."""
    for name, (usual, what) in options.items():
        value = getattr(config, name, usual)
        if value != usual and not (value is None and usual is False):
            raise Unsupported(f"{config.model_type}: {name}={value!r} ({what}) has no counterpart here")
