"""Causal linear attention, some heads at a time: memory and the order of work. The formulas are in `chunks`.

Only the inputs are kept for the backward pass, which makes scores and states again. On a CPU heads are worked on a few
at a time, so that their scores and states stay in the cache, in memory that the next ones use again.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from formers.ops.common.derivatives import gradients_by_autograd, is_transformed, needs_autograd
from formers.ops.common.dtypes import without_autocast
from formers.ops.common.workspace import Workspace, should_tile
from formers.ops.linear_attention.chunks import Chunks
from formers.ops.linear_attention.chunks_autograd import chunk_by_chunk
from formers.ops.linear_attention.state import LinearState

TOKENS_AT_ONCE = 4096
"""Heads × tokens worked on at once on a CPU, one head at least, so that scores and states stay in the cache."""


def chunked(
    q: Tensor, k: Tensor, v: Tensor, before: LinearState, floor: float, log_decay_bhl: Tensor | None
) -> tuple[Tensor, LinearState]:
    """Return y and the state after the last token, given the state before it; masked keys and values are zero."""
    k = k.view_as(k) if k is q else k  # a compiler wants to see three tensors
    v = v.view_as(v) if v is k or v is q else v
    form = chunk_by_chunk if is_transformed() else _ChunkedLinearAttention.apply
    y, s, z = form(q, k, v, before.s_bhmv, before.z_bhm, log_decay_bhl, floor)
    return y, LinearState(s, z)


class _ChunkedLinearAttention(torch.autograd.Function):
    """(q, k, v, S₀, z₀ or None, log g or None, floor) → (y, S, z or None). Without z₀ nothing is normalised."""

    @staticmethod
    def forward(
        q: Tensor, k: Tensor, v: Tensor, s0: Tensor, z0: Tensor | None, log_g: Tensor | None, floor: float
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        y = v.new_empty(*q.shape[:3], v.shape[3])
        s, z = torch.empty_like(s0), None if z0 is None else torch.empty_like(z0)
        workspace = Workspace(s0, s0.dtype, enabled=should_tile(q))
        for some in _heads_at_once(q):
            chunks = Chunks(workspace, *_of((q, k, v, s0, z0, log_g), some))
            y[some], s[some] = chunks.outputs(floor), chunks.s_end
            if z is not None and chunks.z_end is not None:
                z[some] = chunks.z_end
        return y, s, z

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        *tensors, ctx.floor = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, gy: Tensor, gs: Tensor, gz: Tensor | None) -> tuple[Tensor | None, ...]:
        inputs = ctx.saved_tensors
        if needs_autograd(gy, gs, gz):
            return *gradients_by_autograd(partial(chunk_by_chunk, floor=ctx.floor), inputs, (gy, gs, gz)), None
        q, s0 = inputs[0], inputs[3]
        gradients = [None if t is None else torch.empty_like(t) for t in inputs]
        workspace = Workspace(s0, s0.dtype, enabled=should_tile(q))
        for some in _heads_at_once(q):
            with without_autocast(q.device):
                chunks = Chunks(workspace, *_of(inputs, some))
                found = chunks.gradients(gy[some], gs[some], None if gz is None else gz[some], ctx.floor)
            for whole, part in zip(gradients, found, strict=True):
                if whole is not None and part is not None:
                    whole[some] = part
        return *gradients, None


def _heads_at_once(q_bhlm: Tensor) -> list[tuple[slice, slice]]:
    """Return which sequences of the batch, and which of their heads, to work on at once."""
    batch, heads, length, _ = q_bhlm.shape
    if not should_tile(q_bhlm):
        return [(slice(None), slice(None))]
    step_h = max(min(TOKENS_AT_ONCE // length, heads), 1)
    step_b = max(min(TOKENS_AT_ONCE // (length * heads), batch), 1)
    return [
        (slice(b, b + step_b), slice(h, h + step_h)) for b in range(0, batch, step_b) for h in range(0, heads, step_h)
    ]


def _of(tensors: tuple[Any, ...], some: tuple[slice, slice]) -> list[Any]:
    return [None if t is None else t[some] for t in tensors]
