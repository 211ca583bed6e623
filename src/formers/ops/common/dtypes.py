"""The precision in which sums are held."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which sums are held: float32 for half types, else the type itself."""
    return torch.promote_types(dtype, torch.float32)


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return a context without autocast.

    Autocast would carry out in half precision the products that an op does in float32 on purpose.
    """
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)
