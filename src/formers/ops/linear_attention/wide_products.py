"""Products of factors in half precision, multiplied as they are and summed in float32.

float16 ends at 65,504: what may leave it enters a product divided by its largest number, and the product is multiplied
by it again.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def wide_product(a: Tensor, b: Tensor) -> Tensor:
    """Return a b, (B, H, ·, ·), in float32, of factors in half precision."""
    product: Tensor = _WideProduct.apply(a, b)
    return product


class _WideProduct(torch.autograd.Function):
    """(a, b) in half precision → a b in float32; gradients are products of the same kind."""

    @staticmethod
    def forward(a: Tensor, b: Tensor) -> Tensor:
        if not a.is_cuda:  # where products of half types have no such result
            return a.float() @ b.float()
        product = torch.bmm(a.flatten(0, 1), b.flatten(0, 1), out_dtype=torch.float32)
        return product.unflatten(0, a.shape[:2])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        a, b = ctx.saved_tensors
        g, scale = narrowed(gradient, a.dtype)
        return rounded_product(g, b.mT, scale), rounded_product(a.mT, g, scale)


def rounded_product(a: Tensor, b: Tensor, scale: Tensor | float) -> Tensor:
    """Return a b · scale in half precision; products of bfloat16, which have float32's range, come out in it."""
    return a @ b if isinstance(scale, float) else (wide_product(a, b) * scale).to(a.dtype)


def narrowed(t: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor | float]:
    """Return (t/s in a dtype, s), each (B, H, ·, ·), s such that nothing overflows; 1 where nothing can."""
    if t.dtype == dtype or dtype != torch.float16:
        return t.to(dtype), 1.0
    largest = t.detach().abs().amax((2, 3), keepdim=True)
    scale = largest.masked_fill(largest == 0, 1)
    return (t / scale).to(dtype), scale
