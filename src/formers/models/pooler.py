"""One vector for a whole sequence, from its first token."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from formers.ffn import ACTIVATIONS, Activation
from formers.models.config import TransformerConfig
from formers.part import Unsupported


class Pooler(nn.Module):
    """activation(W x₁ + b) of the first real token x₁ of each row, as BERT reads `[CLS]`.

    Source: Devlin et al. 2018, arXiv:1810.04805, and its published code.
    """

    def __init__(self, width: int, activation: Activation):
        super().__init__()
        self.dense, self.activation = nn.Linear(width, width), ACTIVATIONS[activation]

    def forward(self, hidden_bld: Tensor, mask_bl: Tensor | None) -> Tensor:
        """Return (B, D) from the hidden states (B, L, D); `mask_bl`: True = a real token, None = all real."""
        return self.activation(self.dense(first_tokens(hidden_bld, mask_bl)))


def build_pooler(config: TransformerConfig) -> Pooler | None:
    """Return the pooler of a backbone; None where it has none. Raise Unsupported for a causal one."""
    if config.pooler is None:
        return None
    if config.causal:
        raise Unsupported("a pooler reads the first token, which has seen no other in a causal model; leave it out")
    return Pooler(config.width, config.pooler)


def first_tokens(hidden_bld: Tensor, mask_bl: Tensor | None) -> Tensor:
    """Return the hidden state of each row's first real token, (B, D)."""
    if mask_bl is None:
        return hidden_bld[:, 0]
    first_b = mask_bl.int().argmax(1)
    return hidden_bld[torch.arange(len(first_b), device=first_b.device), first_b]
