"""The yardstick of a machine: one square matrix product, the best that a processor can do."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from formers.bench.measuring.timing import Call

_SIDES = {"cpu": 768, "cuda": 4096}
"Large enough to reach the full rate, short enough (20 ms) to be timed in every round."


def square_product(flops: float, device: str = "cpu", dtype: str = "float32") -> Callable[[], Tensor]:
    """Return a function that makes a square matrix product with so many floating-point operations."""
    side = max(1, round((flops / 2) ** (1 / 3)))
    a, b = (torch.randn(side, side, device=device, dtype=getattr(torch, dtype)) for _ in range(2))
    return lambda: a @ b


def product_dtype(device: str, dtype: str) -> str:
    """Return what the product of a benchmark is of: on a GPU the benchmark's dtype, which tensor cores multiply faster.

    On a CPU float32: many multiply half precision more slowly.
    """
    return "float32" if device.startswith("cpu") else dtype


def yardstick(device: str, dtype: str) -> tuple[Call, float]:
    """Return the product that is timed in every round beside the candidates, and its floating-point operations."""
    flops = 2.0 * _SIDES[device.partition(":")[0]] ** 3
    return Call(run=square_product(flops, device, dtype)), flops
