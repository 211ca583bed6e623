"""Conditions on the numbers in a tensor: in eager mode, in compiled models and on the meta device."""

from __future__ import annotations

import torch
from torch import Tensor


def can_read(tensor: Tensor) -> bool:
    """Return whether a tensor's numbers can be looked at: not while compiling, and not on the meta device."""
    return not torch.compiler.is_compiling() and not tensor.is_meta


def require_data(holds: Tensor, error: Exception) -> None:
    """Raise the error unless all of `holds` is True; RuntimeError, when it runs, in a compiled or exported model.

    Looking waits for the device. Without data, on the meta device, there is nothing to raise for.
    """
    if can_read(holds):
        if not bool(holds.all()):
            raise error
    elif not holds.is_meta:
        torch._assert_async(holds.all(), str(error))
