"""Gradients of symmetric linear maps, y = M x with M = Mᵀ: the map of the gradient of y, to any order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from formers.ops.common.derivatives import is_transformed


def symmetric(run: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return run(x), for a `run` that is such a map in operations that `torch.func` transforms; x is not kept."""
    if is_transformed():
        return run(x)
    y: Tensor = _Symmetric.apply(x, run)
    return y


class _Symmetric(torch.autograd.Function):
    """(x, run) → run(x)."""

    @staticmethod
    def forward(x: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
        return run(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Callable[[Tensor], Tensor]], output: Tensor) -> None:
        ctx.run = inputs[1]

    @staticmethod
    def backward(ctx: Any, gy: Tensor) -> tuple[Tensor, None]:
        return symmetric(ctx.run, gy), None
