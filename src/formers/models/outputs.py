"""Outputs of models that say how many steps each token got."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast


@dataclass
class BackboneOutput(BaseModelOutputWithPast):
    """Hidden states of a backbone.

    Attributes:
        steps: how many layers or steps each token went through, (B, L), 0 at padding; None where all got the same.
        pooler_output: one vector a row, (B, D), as `Pooler` makes it; None without one, and for packed documents.
        mask: which tokens are real, (B, L), or `Documents`, None = all are; where a head trains its early exits on it.
    """

    steps: Tensor | None = None
    pooler_output: Tensor | None = None
    mask: Any = None


@dataclass
class CausalLMOutput(CausalLMOutputWithPast):
    """Logits of a causal language model; `steps` as in `BackboneOutput`."""

    steps: Tensor | None = None
