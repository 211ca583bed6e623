"""The precision in which sums are held."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which sums are held: float32 for half types, else the type itself."""
    return torch.promote_types(dtype, torch.float32)


def product_dtype(t: torch.Tensor) -> torch.dtype:
    """Return the dtype in which a tensor enters products: autocast's for float32 on a GPU under autocast, else its own.

    For tensors that no layer of torch's has converted, as the tokens themselves; on a CPU float32 is kept.
    """
    kind = t.device.type
    if kind == "cuda" and t.dtype == torch.float32 and torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return t.dtype


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return a context without autocast.

    Autocast would carry out in half precision the products that an op does in float32 on purpose.
    """
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)
