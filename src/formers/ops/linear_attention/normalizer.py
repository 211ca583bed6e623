"""Dividing by the denominators of linear attention, which may be small, zero or negative."""

from __future__ import annotations

import torch
from torch import Tensor


def safe_divisor(d: Tensor, floor: float) -> Tensor:
    """Return d to divide by: ±floor where 0 < |d| < floor, without a gradient; ∞ where d = 0, so that the quotient is
    0.

    Dividing, other than multiplying by 1/d, forms no 1/d² in the backward pass: floors down to 1e−30 stay finite there.
    """
    if not torch.is_grad_enabled() and not torch.compiler.is_compiling():  # the same in fewer steps
        return d.abs().clamp_(min=floor).copysign_(d).masked_fill_(d == 0, torch.inf)
    d = torch.where(d.abs() < floor, d.sign() * floor, d)
    return d.masked_fill(d == 0, torch.inf)
