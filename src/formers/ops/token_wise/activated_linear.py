"""A linear layer and its activation, the latter at the end of the product's kernel on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from formers.ops.common.derivatives import is_recorded, is_transformed
from formers.ops.common.dispatch import Form, Forms

_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
}


def activated_linear(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str, *, impl: str = "auto") -> Tensor:
    """Return f(x Wᵀ + b), (…, K) → (…, N): f is max(·, 0), or GELU by its tanh.

    Args:
        x, weight, bias: (…, K), (N, K) and (N) or None, as `torch.nn.functional.linear` takes them; under autocast in
            its dtype.
        activation: "relu" or "gelu_tanh".
        impl: "auto", "torch" (a product, then a pass over its result) or "fused" (the end of the product's kernel, on a
            GPU; "gelu_tanh" without gradients, which want its input).

    Cost: the product; "fused" saves reading and writing N numbers a token, and keeps x and f.
    Raises ValueError for another activation, or a form that cannot run.
    """
    if activation not in _FUNCTIONS:
        raise ValueError(f"activation is {activation!r}; expected {' or '.join(map(repr, _FUNCTIONS))}")
    return _FORMS.run(impl, ActivatedInputs(x, weight, bias, activation), x.device)


class ActivatedInputs(NamedTuple):
    """The inputs of `activated_linear`."""

    x: Tensor
    weight: Tensor
    bias: Tensor | None
    activation: str


def _by_torch(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str) -> Tensor:
    return _FUNCTIONS[activation](F.linear(x, weight, bias))


def _unsupported_reasons(inputs: ActivatedInputs) -> list[str]:
    """Return why the product's kernel cannot end with the activation, a sentence each."""
    x, weight, bias, activation = inputs
    reasons = []
    if activation == "gelu_tanh" and not x.is_cuda:
        reasons.append(f"on {x.device.type} the kernel ends with GELU by erf, not by tanh")
    if activation == "gelu_tanh" and is_recorded(x, weight, bias):
        reasons.append("the gradient of GELU wants its input, which the kernel does not keep")
    if torch.compiler.is_compiling() or is_transformed():
        reasons.append("compilers and transforms of torch.func know it as two operations")
    if not x.numel():
        reasons.append("there is nothing to compute")
    return reasons


def _fused(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str) -> Tensor:
    kind = x.device.type
    if torch.is_autocast_enabled(kind) and x.dtype != torch.float64:  # which autocast leaves as it is
        dtype = torch.get_autocast_dtype(kind)
        x, weight, bias = x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    with torch.autocast(kind, enabled=False):
        rows = x.reshape(-1, x.shape[-1])
        if is_recorded(x, weight, bias):
            y = _LinearRelu.apply(rows, weight, bias)
        else:
            y = _kernel(rows, weight, bias, activation)
        return y.view(*x.shape[:-1], len(weight))


def _kernel(x_nk: Tensor, weight: Tensor, bias: Tensor | None, activation: str) -> Tensor:
    bias = x_nk.new_zeros(len(weight)) if bias is None else bias
    return torch._addmm_activation(bias, x_nk, weight.mT, use_gelu=activation == "gelu_tanh")


class _LinearRelu(torch.autograd.Function):
    """(x (N, K), W, b) → max(x Wᵀ + b, 0); the backward pass is made of operations that autograd knows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        y = _kernel(x, weight, bias, "relu")
        ctx.save_for_backward(x, weight, y)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, y = ctx.saved_tensors
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad
        g = torch.ops.aten.threshold_backward(gradient, y, 0)
        return (
            g @ weight if wants_x else None,
            g.mT @ x if wants_weight else None,
            g.sum(0) if wants_bias else None,
        )


_FORMS: Forms[ActivatedInputs, Tensor] = Forms(
    "activated_linear",
    Form("torch", _by_torch),
    Form("fused", _fused, _unsupported_reasons),
    preference={"cpu": ["torch"], "cuda": ["fused", "torch"]},
)
