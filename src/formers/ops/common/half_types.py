"""Where half-precision numbers are multiplied without being widened."""

from __future__ import annotations

import torch
from torch import Tensor

from formers.ops.common.derivatives import is_transformed

HALF = (torch.float16, torch.bfloat16)
"""The dtypes of half precision."""


def multiplies_half(*tensors: Tensor) -> bool:
    """Return True where half-precision factors are multiplied as they are: on a GPU, outside `torch.func`."""
    return all(t.is_cuda and t.dtype in HALF for t in tensors) and not is_transformed()
