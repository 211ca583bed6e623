"""Embeddings of tokens, with errors that tell what is no batch of tokens, and a tokenizer of another model."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def embed(table: nn.Module, input_ids: Tensor | None) -> Tensor:
    """Return the embeddings of tokens (B, L). Raise ValueError for one beyond the table, where the device tells.

    Devices but the CPU are not waited for: their own error comes later. Raise TypeError for what is no tensor of
    integers, and ValueError for one of another shape.
    """
    assert input_ids is not None
    _check_tokens(input_ids)
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


def check_embedded(inputs_embeds: Tensor, width: int) -> None:
    """Raise ValueError for embeddings that are not (B, L, width)."""
    if inputs_embeds.dim() != 3 or inputs_embeds.shape[2] != width:
        raise ValueError(
            f"inputs_embeds has shape {tuple(inputs_embeds.shape)}; expected (batch, length, width) with width {width}"
        )


def check_positions(position_ids: Tensor | None, x_bld: Tensor) -> None:
    """Raise ValueError for positions that are not those of these tokens, (B, L) or (1, L)."""
    if position_ids is None:
        return
    (batch, length), shape = x_bld.shape[:2], tuple(position_ids.shape)
    if len(shape) != 2 or shape[0] not in (1, batch) or shape[1] != length:
        raise ValueError(
            f"position_ids has shape {shape}; expected (batch, length) = {(batch, length)}, or {(1, length)} for all "
            "rows, the positions of the new tokens alone" + ("; give position_ids[None]" if len(shape) == 1 else "")
        )


def _check_tokens(input_ids: Tensor) -> None:
    """Raise TypeError for what is no tensor of integers, and ValueError for what is no batch of rows of tokens."""
    given = f"a tensor of {input_ids.dtype}" if isinstance(input_ids, Tensor) else f"a {type(input_ids).__name__}"
    if not isinstance(input_ids, Tensor) or input_ids.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"input_ids must be a tensor of torch.int64, but {given} was given; write torch.tensor([[…]])")
    if input_ids.dim() != 2:
        raise ValueError(
            f"input_ids has shape {tuple(input_ids.shape)}; expected (batch, length)"
            + ("; of one row, give input_ids[None]" if input_ids.dim() == 1 else "")
        )
