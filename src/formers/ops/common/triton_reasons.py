"""Whether Triton's kernels run on a tensor. Triton itself is imported by the first call of a kernel."""

from __future__ import annotations

import os
from importlib.util import find_spec

import torch
from torch import Tensor

from formers.ops.common.derivatives import is_batched, is_transformed

_DTYPES = (torch.float16, torch.bfloat16, torch.float32)


def _is_installed() -> bool:
    try:
        return find_spec("triton") is not None
    except ModuleNotFoundError:  # from a finder that refuses it
        return False


INSTALLED = _is_installed()
"""Whether Triton is here."""
_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
"""Whether Triton runs kernels on CPU tensors, for tests. Constants, because a compiler cannot look for either."""


def triton_reasons(t: Tensor) -> list[str]:
    """Return why Triton's kernels cannot run on a tensor, a sentence each."""
    reasons = [] if INSTALLED else ["Triton is not installed"]
    if t.device.type != "cuda" and not (t.device.type == "cpu" and _INTERPRETED):
        reasons.append(f"Triton runs on CUDA, and these tensors are on {t.device.type}")
    if type(t) not in (Tensor, torch.nn.Parameter):
        reasons.append(f"it reads memory, which a {type(t).__name__} does not have")
    elif is_batched(t):
        reasons.append("it reads memory, which a batch of gradients does not have")
    if t.dtype not in _DTYPES:
        reasons.append(f"it multiplies float16, bfloat16 and float32, and these are {t.dtype}")
    return reasons


def eager_triton_reasons(t: Tensor) -> list[str]:
    """Return the same of kernels that give way to operations of torch wherever these are transformed."""
    reasons = triton_reasons(t)
    if not t.numel():
        reasons.append("there is nothing to compute")
    if torch.compiler.is_compiling() or is_transformed():
        reasons.append("compilers fuse operations of torch as well, and torch.func transforms them")
    return reasons
