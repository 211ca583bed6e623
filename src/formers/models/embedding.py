"""Embeddings of tokens, with an error that tells a tokenizer of another model."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def embed(table: nn.Module, input_ids: Tensor | None) -> Tensor:
    """Return the embeddings of tokens (B, L). Raise ValueError for one beyond the table, where the device tells.

    Devices but the CPU are not waited for: their own error comes later.
    """
    assert input_ids is not None
    if torch.compiler.is_compiling():
        found: Tensor = table(input_ids)
        return found
    try:
        found = table(input_ids)
    except IndexError:
        raise ValueError(
            f"input_ids has tokens from {int(input_ids.min())} to {int(input_ids.max())}, but the model knows 0 to "
            f"{getattr(table, 'num_embeddings', 0) - 1}; take the tokenizer that belongs to the model"
        ) from None
    return found
