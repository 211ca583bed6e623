"""Masks of a batch: which of its tokens are real, and which are global."""

from __future__ import annotations

import torch
from torch import Tensor

from formers.ops import can_read, require_data


def real_tokens(attention_mask: Tensor | None, x_bld: Tensor, seen: int | Tensor) -> Tensor | None:
    """Return the mask of the new tokens as booleans, (B, L); None if all are real. Raise ValueError for a misfit.

    The number of tokens `seen` is read, where a device has it, only for a mask that is longer than the new ones.
    """
    if attention_mask is None:
        return None
    batch, length, _ = x_bld.shape
    given = tuple(attention_mask.shape)
    if given != (batch, length) and given != (batch, (seen := int(seen)) + length):
        past = f", or with the {seen} tokens of the past in front ({batch}, {seen + length})" if seen else ""
        raise ValueError(
            f"attention_mask has shape {tuple(attention_mask.shape)}; expected (batch, length) = ({batch}, {length})"
            f"{past}, 1 for a real token and 0 for padding"
        )
    mask = attention_mask[:, attention_mask.shape[1] - length :]
    numbers = ValueError(
        "attention_mask must hold 1 for a real token and 0 for padding; numbers of documents that are packed into a "
        "row belong into seq_idx"
    )
    if not can_read(mask):
        require_data((mask == 0) | (mask == 1), numbers)
        return mask.bool()
    # both at once: a device is waited for one time in a forward pass
    all_real, all_known = torch.stack([(mask == 1).all(), ((mask == 0) | (mask == 1)).all()]).tolist()
    if not all_known:
        raise numbers
    return None if all_real else mask.bool()


def global_tokens(global_attention_mask: Tensor, x_bld: Tensor) -> Tensor:
    """Return which tokens are global as booleans, (B, L). Raise ValueError for a misfit."""
    if tuple(global_attention_mask.shape) != tuple(x_bld.shape[:2]):
        raise ValueError(
            f"global_attention_mask has shape {tuple(global_attention_mask.shape)}; expected (batch, length) = "
            f"{tuple(x_bld.shape[:2])}, 1 for a global token and 0 for any other"
        )
    numbers = ValueError("global_attention_mask must hold 1 for a global token and 0 for any other")
    require_data((global_attention_mask == 0) | (global_attention_mask == 1), numbers)
    return global_attention_mask.bool()
