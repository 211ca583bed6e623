"""Attention for blocks of query rows, each with its own score mask, made again in the backward pass instead of kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from formers.ops.attention.bias import AddedBias, same_for_all_rows
from formers.ops.attention.sdpa import sdpa
from formers.ops.common.derivatives import is_transformed
from formers.ops.common.operations import counted_times, has_only_sizes

Block: TypeAlias = Callable[[int, int, Tensor, Tensor, Tensor], Tensor]
"""(start, stop, q of these rows, k, v) → y of these rows."""

SCORES_AT_ONCE = 1 << 21
"""Score masks and biases are made for blocks of query rows, of about so many entries at a time."""
_LEAST_ROWS = 16
"""Query rows in a block, at least."""
_ON_A_GPU = 64
"""Times as many are made at a time on a GPU: there each block is a dozen kernels to start, and no cache holds any."""


def by_query_blocks(q: Tensor, k: Tensor, v: Tensor, causal: bool, bias: AddedBias, scale: float) -> Tensor:
    """Return softmax(q kᵀ·scale + bias) v with a score mask for one block of query rows at a time.

    Needs a bias, causality or both; S ≥ L if causal.
    """
    (rows, keys), grouped = (q.shape[2], k.shape[2]), q.shape[1] != k.shape[1]

    def block(start: int, stop: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        end = keys - rows + stop if causal else keys
        mask = _score_mask(start, stop, end, keys - rows if causal else None, bias, q)
        return sdpa(q, k[:, :, :end], v[:, :, :end], mask, scale=scale, grouped=grouped)

    if not causal and isinstance(bias, Tensor) and same_for_all_rows(bias):
        return block(0, rows, q, k, v)
    return run_blocks(block, q, k, v, scores_a_row=keys * (1 if bias is None else q.shape[1]))


def run_blocks(block: Block, q: Tensor, k: Tensor, v: Tensor, *, scores_a_row: int) -> Tensor:
    """Return the outputs of `block(start, stop, q[:, :, start:stop], k, v)` for one block of rows after another.

    A block has about `SCORES_AT_ONCE` scores, or more on a GPU, of which a row has so many. With gradients on, a block
    of more than that is computed again in the backward pass instead of kept; inside a transform of `torch.func`, which
    takes no such hooks, it is kept.
    """
    rows = q.shape[2]
    if rows * scores_a_row <= SCORES_AT_ONCE or rows <= _LEAST_ROWS:
        return block(0, rows, q, k, v)
    step = rows_at_once(scores_a_row, q.device)
    ys, again = [], torch.is_grad_enabled() and not is_transformed()
    for start, times in _starts(rows, step, q):
        stop = min(start + step, rows)
        args = (start, stop, q[:, :, start:stop], k, v)
        with counted_times(times):
            y = checkpoint(block, *args, use_reentrant=False, preserve_rng_state=False) if again else block(*args)
        ys += [y] * times
    return torch.cat(ys, 2)


def rows_at_once(scores_a_row: int, device: torch.device) -> int:
    """Return how many query rows make a block."""
    times = 1 if device.type in ("cpu", "meta") else _ON_A_GPU
    return max(_LEAST_ROWS, times * SCORES_AT_ONCE // scores_a_row)


def _starts(rows: int, step: int, q: Tensor) -> list[tuple[int, int]]:
    """Return where blocks start, and how many each stands for: itself alone, but where `has_only_sizes`.

    Operations are the same in all whole blocks, or grow evenly with the keys before them: those in the middle stand for
    all.
    """
    starts = range(0, rows, step)
    if not has_only_sizes(q):
        return [(start, 1) for start in starts]
    whole = rows // step
    middle = {(whole - 1) // 2, whole // 2}
    return [(starts[n], whole // len(middle)) for n in sorted(middle)] + [(start, 1) for start in starts[whole:]]


def _score_mask(start: int, stop: int, end: int, offset: int | None, bias: AddedBias, q: Tensor) -> Tensor:
    """Return the mask of rows `start … stop − 1` against keys before `end`: added to scores, or bool, True if seen.

    With an `offset`, row i sees the keys up to i + offset.
    """
    added = bias(start, stop) if callable(bias) else bias
    if added is not None:
        if isinstance(bias, Tensor) and not same_for_all_rows(added):
            added = added[..., start:stop, :]
        added = added[(None,) * (4 - added.dim())].to(q.dtype)
        added = added if added.shape[3] == 1 else added[..., :end]
    if offset is None:
        assert added is not None
        return added
    row, key = torch.arange(start, stop, device=q.device), torch.arange(end, device=q.device)
    seen = key <= row[:, None] + offset
    return seen if added is None else added.masked_fill(~seen, -torch.inf)
