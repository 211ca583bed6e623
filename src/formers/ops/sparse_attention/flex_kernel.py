"""FlexAttention, compiled once for each use of it."""

from __future__ import annotations

import types
from collections.abc import Hashable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

_KEPT = 256
"""Uses whose compiled kernels are kept."""


def flex_kernel(q: Tensor, k: Tensor, v: Tensor, use: Hashable, **options: Any) -> Tensor:
    """Return FlexAttention of q, k and v, by a kernel that is compiled for these shapes and this use, and kept.

    Raise RuntimeError where torch would give up compiling and form all scores instead.

    Args:
        use: what else the compiled kernel depends on beside shapes, dtypes and devices: the pattern and the kinds of
            masks and biases. Each use has a compiler's cache of its own, so that none counts against the limit of
            another.
        options: those of `flex_attention`.
    """
    if torch.compiler.is_compiling():  # part of a graph that is being compiled
        return _flex(q, k, v, **options)
    kernel = _compiled(use, q.shape, k.shape, v.shape, q.dtype, q.device)
    try:
        y: Tensor = kernel(q, k, v, **options)
    except _gave_up() as error:
        raise RuntimeError(
            "FlexAttention was to be compiled anew more often than torch._dynamo.config.recompile_limit allows, for "
            "something that changes from call to call, such as a number that a bias reads: read it from a tensor, or "
            "use impl='gathered'. It does not go on with the uncompiled form, which makes all L×S scores"
        ) from error
    return y


def _gave_up() -> type[Exception]:
    """Return the error of a compiler that has compiled one use too often."""
    from torch._dynamo.exc import FailOnRecompileLimitHit  # here, because it imports the compiler

    return FailOnRecompileLimitHit


def _flex(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:
    from torch.nn.attention.flex_attention import flex_attention  # here, because it imports the compiler

    y: Tensor = flex_attention(q, k, v, **options)
    return y


@lru_cache(_KEPT)
def _compiled(use: Hashable, *what_else: Hashable) -> Any:
    """Return the kernel of one use. On a CPU it is not worth compiling, and runs in operations of torch."""
    own = types.FunctionType(_flex.__code__.replace(), _flex.__globals__, _flex.__name__)  # a cache is per code object
    on_cpu = what_else[-1] == torch.device("cpu")
    return torch.compile(own, backend="eager" if on_cpu else "inductor", dynamic=False, fullgraph=True)
