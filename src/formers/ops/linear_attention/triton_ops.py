"""The two passes of Triton's linear attention as functions of tensors, and as ops of torch's for compilers.

A compiler takes an op as one node of its graph, which it need not look into; elsewhere the call is plain, because an op
costs the host more than a launch. Triton is imported with the first call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from formers.ops.linear_attention.triton_grid import cut_of, empty_heads

_GIVEN = "Tensor q, Tensor k, Tensor v, Tensor? s0, Tensor? z0, Tensor? log_g, Tensor? mask"
_OPTIONS = "bool causal, bool normalize, float floor, str feature"
_FOUND = "Tensor y, Tensor s, Tensor z, Tensor d, Tensor states"
_LIBRARY = "formers_triton"


def forward(*arguments: Any) -> tuple[Tensor, ...]:
    """Return (y, S, z, d, states) of `triton_launch.forward`, given its inputs and options one after the other."""
    if torch.compiler.is_compiling():
        found: tuple[Tensor, ...] = torch.ops.formers_triton.linear_forward(*arguments)
        return found
    return _forward(*arguments)


def backward(*arguments: Any) -> tuple[Tensor, ...]:
    """Return the gradients of q, k, v, S₀, z₀ and log g (empty without a decay) of `triton_launch.backward`.

    The arguments are its inputs, what was found, the gradients of y, S and z, and the options, one after the other.
    """
    if torch.compiler.is_compiling():
        found: tuple[Tensor, ...] = torch.ops.formers_triton.linear_backward(*arguments)
        return found
    return _backward(*arguments)


def _forward(*arguments: Any) -> tuple[Tensor, ...]:
    from formers.ops.linear_attention import triton_launch as launch

    given, options = launch.TritonInputs(*arguments[:7]), launch.TritonOptions(*arguments[7:])
    with torch.cuda.device_of(given.q):
        return tuple(launch.forward(given, options))


def _backward(*arguments: Any) -> tuple[Tensor, ...]:
    from formers.ops.linear_attention import triton_launch as launch

    given, found = launch.TritonInputs(*arguments[:7]), launch.TritonOutputs(*arguments[7:12])
    (gy, gs, gz), options = arguments[12:15], launch.TritonOptions(*arguments[15:])
    with torch.cuda.device_of(given.q):
        *gradients, glog = launch.backward(given, found, (gy, gs, gz if options.normalize else None), options)
    return *gradients, gy.new_empty(0) if glog is None else glog


def _forward_without_data(
    q: Tensor, k: Tensor, v: Tensor, s0: Any, z0: Any, log_g: Any, mask: Any, causal: bool, normalize: bool, *_: Any
) -> tuple[Tensor, ...]:
    """Return outputs of the right sizes."""
    batch, heads, length, m = q.shape
    width, cut, float32 = v.shape[3], cut_of(k, max(m, v.shape[3])), torch.float32
    many = causal and cut.segments > 1
    return (
        empty_heads(q, width),
        q.new_empty(batch, heads, m, width, dtype=float32),
        q.new_empty((batch, heads, m) if normalize else 0, dtype=float32),
        q.new_empty((batch, heads, length) if normalize else 0, dtype=float32),
        q.new_empty((batch * heads, cut.segments, m * width + m) if many else 0, dtype=float32),
    )


def _backward_without_data(q: Tensor, k: Tensor, v: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    """Return gradients of the right sizes."""
    s, log_g = rest[5], rest[2]
    gradients = [empty_heads(t, t.shape[3]) for t in (q, k, v)]
    glog = q.new_empty(0) if log_g is None else q.new_empty(q.shape[:3], dtype=torch.float32)
    return *gradients, torch.empty_like(s), s.new_empty(s.shape[:3]), glog


_FIVE, _SIX = ", ".join(["Tensor"] * 5), ", ".join(["Tensor"] * 6)
_OPS: dict[str, tuple[str, Callable[..., Any], Callable[..., Any]]] = {
    "linear_forward": (f"({_GIVEN}, {_OPTIONS}) -> ({_FIVE})", _forward, _forward_without_data),
    "linear_backward": (
        f"({_GIVEN}, {_FOUND}, Tensor gy, Tensor? gs, Tensor? gz, {_OPTIONS}) -> ({_SIX})",
        _backward,
        _backward_without_data,
    ),
}
"""Name → schema, what runs, and what gives the sizes alone."""
for _name, (_schema, _run, _sizes) in _OPS.items():
    torch.library.define(f"{_LIBRARY}::{_name}", _schema)
    torch.library.impl(f"{_LIBRARY}::{_name}", ("cpu", "cuda"), _run)
    torch.library.register_fake(f"{_LIBRARY}::{_name}", _sizes)
