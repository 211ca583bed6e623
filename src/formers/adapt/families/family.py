"""What has to be known about a family of pretrained models to be one of its models."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor

from formers.ffn import ACTIVATIONS, Activation
from formers.models import TransformerConfig
from formers.part import Unsupported

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Family:
    """How models of one family are written in this library.

    Attributes:
        config: their configuration → ours. Raise Unsupported, naming it, for an option that ours cannot follow.
        names: (theirs, ours) of the names of weights below the backbone, as pairs of regular expression and template,
            the first that matches whole. Ours None: not part of the model, and left out.
        to_ours: weights under their names in their layout → in the layout of ours, still under their names.
        to_theirs: the way back; None where weights of theirs cannot be told from ours.
    """

    config: Callable[[Any], TransformerConfig]
    names: tuple[tuple[str, str | None], ...]
    to_ours: Callable[[Weights, Any], Weights]
    to_theirs: Callable[[Weights, Any], Weights] | None = None

    def our_name(self, name: str) -> str | None:
        """Return our name of a weight; None for one that is left out. Raise Unsupported for an unknown one."""
        for pattern, ours in self.names:
            if found := re.fullmatch(pattern, name):
                return None if ours is None else found.expand(ours)
        raise Unsupported(f"the model has a weight {name!r} that is not part of its family as it is known here")


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
