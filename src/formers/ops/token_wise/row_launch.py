"""Kernels of whole rows: for which inputs they run, and their launch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from formers.ops.common.triton_reasons import eager_triton_reasons

_WIDEST = 8192
"""The most features that a program's registers hold."""
_NUMBERS = 4096
"""Numbers in a program, 32 for each thread of four warps."""


def unsupported_reasons(inputs: tuple[Any, ...]) -> list[str]:
    """Return why the kernels cannot run on inputs that begin with x, a sentence each."""
    x = inputs[0]
    reasons = eager_triton_reasons(x)
    if x.shape[-1] > _WIDEST:
        reasons.append(f"it takes up to {_WIDEST} features, these are {x.shape[-1]}")
    return reasons


def launch(kernel: Any, tensors: tuple[Tensor, ...], *numbers: float) -> None:
    """Run a kernel on the rows of tensors in one piece, a few to a program; the first tensor is x."""
    x = tensors[0]
    width = x.shape[-1]
    rows, block = x.numel() // width, max(16, 1 << (width - 1).bit_length())
    at_once = max(1, _NUMBERS // block)
    with torch.cuda.device_of(x):
        kernel[(-(-rows // at_once),)](*tensors, rows, width, *numbers, ROWS=at_once, BLOCK=block, num_warps=4)
