"""Linear and dense attention by Triton kernels: for which inputs, and with derivatives of any order.

The launches are ops of torch's while a compiler traces, which then does not look into them, and plain calls elsewhere.
Triton is imported with the first call that needs it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from formers.ops.common.derivatives import gradients_by_autograd, is_recorded, is_transformed, needs_autograd
from formers.ops.common.tensor_cores import tensor_core_reasons
from formers.ops.common.tf32 import multiplies_in_tf32
from formers.ops.common.tracing import is_left_open
from formers.ops.common.triton_reasons import triton_reasons
from formers.ops.linear_attention import matmul
from formers.ops.linear_attention.inputs import DenseInputs, LinearInputs
from formers.ops.linear_attention.state import LinearState
from formers.ops.linear_attention.triton_ops import backward, forward

WIDEST = 512
"""The most features, and the most columns of values, that a program's registers hold."""
WIDEST_EXACT = 128
"""The same for float32 with a decay, whose gradient holds two blocks of states."""


def unsupported_reasons(inputs: LinearInputs) -> list[str]:
    """Return why the kernels cannot run on these inputs, a sentence each."""
    q, k, v = inputs[:3]
    reasons = triton_reasons(q)
    if q.dtype == torch.float32 and inputs.log_decay_bhl is not None and max(q.shape[3], v.shape[3]) > WIDEST_EXACT:
        reasons.append(f"float32 with a decay fits a GPU's shared memory up to {WIDEST_EXACT} features and columns")
    if max(q.shape[3], v.shape[3]) > WIDEST:
        reasons.append(f"it takes up to {WIDEST} features and columns of values, these are {q.shape[3]}, {v.shape[3]}")
    if any(is_left_open(size) for size in (*q.shape, *v.shape)):
        reasons.append("a graph that leaves sizes open cannot plan a grid")
    elif min(*q.shape, *k.shape, *v.shape) == 0:
        reasons.append("there is nothing to compute")
    return reasons


def slow_reasons(inputs: LinearInputs) -> list[str]:
    """Return why another form is faster."""
    reasons = tensor_core_reasons(inputs.q_bhlm.device)
    if inputs.q_bhlm.dtype == torch.float32 and not multiplies_in_tf32():
        reasons.append("float32 products in full precision do not run on tensor cores, and torch's are faster")
    return reasons


def linear_attention(*fields: Any) -> tuple[Tensor, LinearState]:
    """Return y and the state of the op of the same name; the arguments are the fields of `LinearInputs`."""
    given = LinearInputs(*fields)
    if is_transformed():
        return matmul.linear_attention(*given)
    state = given.state
    mask = None if given.key_mask_bs is None else given.key_mask_bs.contiguous().view(torch.uint8)
    q, k, v = given[:3]
    k = k.view_as(k) if k is q else k  # a compiler wants to see three tensors
    v = v.view_as(v) if v is k or v is q else v
    s0, z0 = (None, None) if state is None else (state.s_bhmv, state.z_bhm if given.normalize else None)
    options = (given.causal, given.normalize, given.floor, given.feature)
    tensors = (q, k, v, s0, z0, given.log_decay_bhl)
    run = _TritonLinearAttention.apply if is_recorded(*tensors) else forward
    y, s, z, *_ = run(*tensors, mask, *options)
    return y, LinearState(s, z if given.normalize else None)


def dense_reasons(inputs: DenseInputs) -> list[str]:
    """Return why the kernels cannot run on these inputs of `dense_attention`."""
    scores = ["it goes through the state; order='scores' is not for it"] if _wants_scores(inputs, "scores") else []
    return unsupported_reasons(_as_linear(inputs)) + scores


def slow_dense_reasons(inputs: DenseInputs) -> list[str]:
    """Return why another form of `dense_attention` is faster."""
    few = inputs.x_bhsk.shape[2] < matmul.STATE_FROM * inputs.q_bhlk.shape[3]
    scores = ["so few keys go through their scores"] if few and _wants_scores(inputs, "auto") else []
    return slow_reasons(_as_linear(inputs)) + scores


def dense_attention(*fields: Any) -> tuple[Tensor, LinearState]:
    """Return y and the state of the op of the same name: linear attention whose keys are its values."""
    return linear_attention(*_as_linear(DenseInputs(*fields)))


def _wants_scores(inputs: DenseInputs, order: str) -> bool:
    return not inputs.causal and inputs.order == order


def _as_linear(inputs: DenseInputs) -> LinearInputs:
    q, x, causal, mask, state, _ = inputs
    return LinearInputs(q, x, x, causal, mask, state, False, 0.0, None, "identity")


class _TritonLinearAttention(torch.autograd.Function):
    """(q, k, v, S₀, z₀, log g, mask, options) → (y, S, z, d, states); the last two are for the backward pass."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, ...]:  # `setup_context` costs 30 µs more a call
        found = forward(*arguments)
        ctx.options = arguments[7:]
        ctx.set_materialize_grads(False)  # no zeros are written for states that nothing was made of
        ctx.mark_non_differentiable(*found[3:])
        ctx.save_for_backward(*arguments[:7], *found)
        return found

    @staticmethod
    def backward(ctx: Any, gy: Tensor | None, gs: Tensor | None, gz: Tensor | None, *_: Any) -> tuple[Any, ...]:
        saved = ctx.saved_tensors
        inputs, outputs = saved[:7], saved[7:]
        if needs_autograd(gy, gs, gz):
            form = partial(_by_autograd, mask=inputs[6], options=ctx.options)
            return *gradients_by_autograd(form, inputs[:6], (gy, gs, gz)), *(None,) * 5
        gy = torch.zeros_like(outputs[0]) if gy is None else gy
        found = backward(*inputs, *outputs, gy, gs, gz, *ctx.options)
        gradients = [None if t is None else g.to(t.dtype) for t, g in zip(inputs[:6], found, strict=True)]
        return *gradients, *(None,) * 5


def _by_autograd(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    s0: Tensor | None,
    z0: Tensor | None,
    log_g: Tensor | None,
    *,
    mask: Tensor | None,
    options: tuple[bool, bool, float, str],
) -> tuple[Tensor | None, ...]:
    """Return y, S and z by torch's own operations, which have derivatives of any order."""
    causal, normalize, floor, feature = options
    state = None if s0 is None else LinearState(s0, z0)
    seen = None if mask is None else mask.view(torch.bool)
    y, (s, z) = matmul.linear_attention(q, k, v, causal, seen, state, normalize, floor, log_g, feature)
    return y, s, z
