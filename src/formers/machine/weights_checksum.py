"""Checksums over all weights of a model: whatever is kept of one belongs to no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from hashlib import _Hash

    from torch import nn


def add_weights(digest: _Hash, model: nn.Module) -> None:
    """Take up names, dtypes, shapes and values of all weights. Cost: reads every weight once."""
    for name, weight in sorted(model.state_dict().items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
