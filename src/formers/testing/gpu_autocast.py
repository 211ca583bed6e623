"""Autocast on the CPU with the dtypes of autocast on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

_IN_FLOAT32 = (
    "acos", "asin", "cosh", "cosine_similarity", "cumprod", "cumsum", "erfinv", "exp", "expm1", "group_norm",
    "layer_norm", "linalg_vector_norm", "log", "log10", "log1p", "log2", "log_softmax", "logsumexp",
    "native_layer_norm", "norm", "pow", "reciprocal", "rms_norm", "rsqrt", "sinh", "softmax", "softplus", "sum",
    "tan",
)  # fmt: skip
"""Functions that autocast carries out in float32, with a result of float32, on a GPU and not on a CPU.

As in torch 2.13's ATen/autocast_mode.h, without losses and image functions.
"""


@contextmanager
def gpu_autocast() -> Iterator[None]:
    """Let autocast on the CPU do norms, sums, softmax, exponentials and powers as on a GPU: in float32.

    There the results of these are float32 and meet the half results of products, which they never do on a CPU: mixtures
    that an op does not take show. In the whole process, while it lasts; passes that run again in a backward pass must
    lie inside with it.
    """
    with torch.library._scoped_library("aten", "IMPL", "AutocastCPU") as library:
        for name in _IN_FLOAT32:
            packet = getattr(torch.ops.aten, name)
            for overload in packet.overloads():
                if "out" not in overload:
                    library.impl(getattr(packet, overload), _widened(getattr(packet, overload)))
        yield


def _widened(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function on float32 in place of half types."""

    def run(*args: Any, **options: Any) -> Any:
        with torch.autocast("cpu", enabled=False):
            args, options = tree_map(_wide, (args, options))
            return function(*args, **options)

    return run


def _wide(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16) else value
