"""Token-wise functions from their formulas."""

from __future__ import annotations

import torch
from torch import Tensor


def max_norm(x: Tensor, eps: float) -> Tensor:
    """Return x/(max_d |x_d| + ε): the maximum of ±x, feature by feature; equal ones share its gradient."""
    both = torch.stack([x, -x]).movedim(0, -2).flatten(-2)
    return x / (both.amax(-1, keepdim=True) + eps)


def opposite_softmaxes(x: Tensor) -> Tensor:
    """Return [softmax(x), softmax(−x)]."""
    return torch.cat([x.softmax(-1), (-x).softmax(-1)], -1)
