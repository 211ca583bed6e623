"""How Triton kernels of linear attention cut their work: chunks, segments, blocks of columns, warps."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from formers.ops.common.tf32 import multiplies_in_tf32

PROGRAMS = 512
"""How many programs a launch should have at least: about four for each multiprocessor of an H100."""
ROWS = 64
"""The most tokens in a chunk; where its features are more than `NARROW`, half as many, and a quarter in float32.

A program of GPUs such as the RTX 4090 may take 99 KiB of shared memory: half as many in float32 take 130.
"""
NARROW = 256
"""Features of which chunks of `ROWS` tokens fit the registers."""
LARGEST_STATE = 8192
"""Numbers of a state in one program: 32 kB of registers."""

DECAY_STATE = 8192
"""Bytes of a block of a state as a factor, for the gradient of a decay."""


class Cut(NamedTuple):
    """A sequence as segments of so many chunks of so many rows; the last segment may be cut short."""

    rows: int
    chunks: int
    segments: int


def cut_of(t_bhlx: Tensor, widest: int, *, single_chunks: bool = False) -> Cut:
    """Return the cut of a sequence: segments as long as leaves enough of them, or of one chunk each.

    `widest` is the larger of the numbers of features and of columns of values.
    """
    batch, heads, length, _ = t_bhlx.shape
    rows = min(ROWS if widest <= NARROW else ROWS // t_bhlx.element_size(), block_of(length))
    chunks = -(-length // rows)
    wanted = -(-PROGRAMS // (batch * heads))
    each = 1 if single_chunks else max(chunks // wanted, 1)
    return Cut(rows, each, -(-chunks // each))


def block_of(width: int) -> int:
    """Return the size of a tile's axis that holds a width: a power of two, 16 at least, as matrix products want it."""
    return max(16, 1 << (width - 1).bit_length())


def column_block(width_a: int, width_c: int) -> int:
    """Return how many columns of an output one program makes, so that its state fits the registers."""
    return max(16, min(block_of(width_c), LARGEST_STATE // block_of(width_a)))


def decay_column_block(q_bhlm: Tensor, width: int) -> int:
    """Return how many columns of both states the gradient of a decay has at hand at once.

    Two chunks of factors are in shared memory beside them, of which a program may take 99 KiB (see `ROWS`).
    """
    return max(16, min(32, block_of(width), DECAY_STATE // (block_of(q_bhlm.shape[3]) * q_bhlm.element_size())))


def tile_options(block_a: int, block_c: int) -> dict[str, Any]:
    """Return warps and stages of a kernel whose state has so many rows and columns."""
    return {"num_warps": 4 if block_a * block_c <= LARGEST_STATE // 2 else 8, "num_stages": 2 if block_a < 256 else 1}


def precision_of() -> str:
    """Return the precision of float32 products: torch's own setting for matrix products."""
    return "tf32" if multiplies_in_tf32() else "ieee"


def strided(t_bhlx: Tensor | None) -> tuple[Tensor, int, int, int] | None:
    """Return a tensor as kernels take it: (pointer, stride of B, of H, of L), its last axis contiguous."""
    if t_bhlx is None:
        return None
    t = t_bhlx if t_bhlx.dim() < 4 or t_bhlx.stride(3) == 1 else t_bhlx.contiguous()
    batch, head, token = t.stride()[:3]
    return t, batch, head, token


def empty_heads(like_bhlx: Tensor, width: int) -> Tensor:
    """Return memory for (B, H, L, width) where joining heads copies nothing: tokens lie outside heads."""
    batch, heads, length, _ = like_bhlx.shape
    return like_bhlx.new_empty(batch, length, heads, width).transpose(1, 2)
