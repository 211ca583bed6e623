"""FlexAttention, compiled once for each use of it, and its tiles."""

from __future__ import annotations

import types
from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import pad

from formers.ops.common import triton_reasons
from formers.ops.common.derivatives import is_transformed
from formers.ops.common.tensor_cores import tensor_core_reasons

TILE = 128
"""Queries, and keys, in a tile of FlexAttention."""
MaskMod: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""(b, h, q, k) → True where the pair is one."""
ScoreMod: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
"""(score, b, h, q, k) → the score that counts."""
_SMALLEST_WIDTH = 16
"""The narrowest heads that Triton's matrix products take."""
_KEPT = 256
"""Uses whose compiled kernels are kept."""


def flex_reasons(*tensors: Tensor, instead: str) -> list[str]:
    """Return why FlexAttention cannot run on queries, keys and values, a sentence each.

    Args:
        instead: the form of the op that can.
    """
    (widths, dtype, device), reasons = ([t.shape[-1] for t in tensors], tensors[0].dtype, tensors[0].device.type), []
    if device == "cpu" and torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        reasons.append(f"FlexAttention has no gradients on a CPU; use impl={instead!r} or torch.no_grad()")
    if device == "cuda" and not triton_reasons.INSTALLED:
        reasons.append(f"on a GPU its kernel is compiled by Triton, which is not installed; use impl={instead!r}")
    reasons += [f"{reason}; use impl={instead!r}" for reason in tensor_core_reasons(tensors[0].device)]
    if device == "cuda" and min(widths) < _SMALLEST_WIDTH:
        reasons.append(f"on a GPU heads are at least {_SMALLEST_WIDTH} wide, these are {min(widths)}")
    if device == "cuda" and dtype == torch.float64:
        reasons.append(f"on a GPU its sums are float32, and these are float64; use impl={instead!r}")
    if device not in ("cpu", "cuda"):
        reasons.append(f"there is no FlexAttention for {device} tensors; use impl={instead!r}")
    if is_transformed() or torch.compiler.is_exporting():
        reasons.append(f"it has no part in transforms of torch.func and torch.export; use impl={instead!r}")
    if not all(t.numel() for t in tensors):
        reasons.append(f"there are no queries or no keys; use impl={instead!r}")
    return reasons


def flex_kernel(q: Tensor, k: Tensor, v: Tensor, use: Hashable, **options: Any) -> Any:
    """Return FlexAttention of q, k and v, by a kernel that is compiled for these shapes and this use, and kept.

    With `return_aux` among the options, beside what that asks for.

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
        return kernel(q, k, v, **options)
    except _gave_up() as error:
        raise RuntimeError(
            "FlexAttention was to be compiled anew more often than torch._dynamo.config.recompile_limit allows, for "
            "something that changes from call to call, such as a number that a bias reads: read it from a tensor, or "
            "use another impl. It does not go on with the uncompiled form, which makes all L×S scores"
        ) from error


def in_tiles(t: Tensor) -> Tensor:
    """Return (…, L, X) with zeros behind the last row, up to whole tiles: one compiled kernel serves `TILE` lengths."""
    return pad(t, (0, 0, 0, -t.shape[-2] % TILE)) if t.shape[-2] % TILE else t


def mask_in_tiles(key_mask_bs: Tensor | None, k_bhsk: Tensor, causal: bool) -> Tensor | None:
    """Return which of the keys (B, H, S, K) `in_tiles` are real; None where none is to be hidden.

    Causal queries come before the keys that are added.
    """
    batch, _, keys, _ = k_bhsk.shape
    if key_mask_bs is None and not causal and keys % TILE:
        key_mask_bs = torch.ones(batch, keys, dtype=torch.bool, device=k_bhsk.device)
    return None if key_mask_bs is None else pad(key_mask_bs, (0, -keys % TILE))


def block_mask(some_bhnm: Tensor, every_bhnm: Tensor, seen: MaskMod, sizes: tuple[int, int]) -> Any:
    """Return FlexAttention's block mask of the tiles with a pair, and those that are wholly pairs.

    Args:
        some_bhnm, every_bhnm: (B or 1, H or 1, query tiles, key tiles).
        seen: tells the pairs of a tile that is not whole.
        sizes: how many queries and keys there are.
    """
    from torch.nn.attention.flex_attention import BlockMask  # here, because it imports the compiler

    partly, wholly = (_ordered(t) for t in (some_bhnm & ~every_bhnm, every_bhnm))
    return BlockMask.from_kv_blocks(*partly, *wholly, BLOCK_SIZE=TILE, mask_mod=seen, seq_lengths=sizes)


def _ordered(tiles_bhnm: Tensor) -> tuple[Tensor, Tensor]:
    """Return how many key tiles each query tile has, and which, these first."""
    count = tiles_bhnm.sum(3, dtype=torch.int32)
    return count, tiles_bhnm.to(torch.int8).argsort(dim=3, descending=True, stable=True).to(torch.int32)


def _gave_up() -> type[Exception]:
    """Return the error of a compiler that has compiled one use too often."""
    from torch._dynamo.exc import FailOnRecompileLimitHit  # here, because it imports the compiler

    return FailOnRecompileLimitHit


def _flex(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Any:
    from torch.nn.attention.flex_attention import flex_attention  # here, because it imports the compiler

    return flex_attention(q, k, v, **options)


@lru_cache(_KEPT)
def _compiled(use: Hashable, *what_else: Hashable) -> Any:
    """Return the kernel of one use. On a CPU it is not worth compiling, and runs in operations of torch."""
    own = types.FunctionType(_flex.__code__.replace(), _flex.__globals__, _flex.__name__)  # a cache is per code object
    on_cpu = what_else[-1] == torch.device("cpu")
    return torch.compile(own, backend="eager" if on_cpu else "inductor", dynamic=False, fullgraph=True)
