"""Dividing by the denominators of linear attention, which may be small, zero or negative."""

from __future__ import annotations

import torch
from torch import Tensor


def guarded_reciprocal(d: Tensor, floor: float) -> Tensor:
    """Return 1/d; ±1/floor where 0 < |d| < floor, without a gradient through d; 0 where d = 0."""
    tiny = d.abs() < floor
    return torch.where(tiny, d.sign() / floor, d.masked_fill(tiny, 1).reciprocal())
