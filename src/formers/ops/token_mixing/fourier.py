"""Fourier mixing: the real part of a 2-D Fourier transform over length and width."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from formers.ops.common import checks
from formers.ops.common.dispatch import Form, Forms
from formers.ops.common.half_types import HALF
from formers.ops.common.triton_reasons import INSTALLED
from formers.ops.token_mixing import naive
from formers.ops.token_mixing.fourier_half import by_half_products
from formers.ops.token_mixing.fourier_matmul import by_matmul
from formers.ops.token_mixing.fourier_transform import by_transform

MATMUL_UP_TO = 1 << 20
"""Two matrix products are faster than a transform while B·L·D·(L + D), half their multiplications, is at most this:
they are fewer calls, and a small transform is mostly calls. Measured by `benchmarks/fourier.py`."""

HALF_UP_TO = 8192
"""On a GPU, products in half precision are taken while L + D is at most this. An estimate, not measured: they take
D (D + L)/2 operations and 10 D bytes a token, at 400 TFLOP/s and 3 TB/s as long as the transform does for
D + L = 12,000 (one H200: 0.31 ms for 16,384 tokens of width 1,024); tables of 8,192 places take 67 MB.
`python -m benchmarks.gpu --only fourier` times both."""


def fourier_mix(x_bld: Tensor, *, impl: str = "auto") -> Tensor:
    """Return y = Re F_length F_width x, unnormalised: y_nd = Σ_le x_le cos(2π (nl/L + de/D)).

    Args:
        x_bld: (B, L, D). float16 and bfloat16 are computed in float32, but by "half"; y is about √(LD) times as large
            as x, which float16 may not hold.
        impl: "auto" (by size), "torch" (real-input transform), "matmul" (two matrix products with cosine and sine
            tables), "half" (products in half precision, of the quarter of x that symmetry leaves, which a GPU sums in
            float32), or "naive" (from the formula).

    Returns:
        (B, L, D), in the dtype of x. There is no mask: padding mixes in.

    Cost: O(LD (log L + log D)), or O(LD (L + D)) as matrix products; memory O(LD). The map is symmetric, so its
    gradient is the same map.
    Source: Lee-Thorp et al. 2021, arXiv:2105.03824.
    Raises `ValueError` for an empty axis, or an impl or a dtype that does not exist.
    """
    size = checks.sizes(x=(x_bld, "BLD"))
    checks.same_dtype(x=x_bld)
    if not size["L"] or not size["D"]:
        raise ValueError(
            f"x has shape {tuple(x_bld.shape)}; a Fourier transform needs at least one entry on every axis"
        )
    return _FORMS.run(impl, FourierInputs(x_bld), x_bld.device)


class FourierInputs(NamedTuple):
    """The checked inputs of `fourier_mix`, as every form takes them."""

    x_bld: Tensor


def _slow_as_matmul(inputs: FourierInputs) -> list[str]:
    _, length, width = inputs.x_bld.shape
    work = inputs.x_bld.numel() * (length + width)
    return (
        [f"B·L·D·(L + D) is {work:,}, and beyond {MATMUL_UP_TO:,} a transform is faster"] if work > MATMUL_UP_TO else []
    )


def _not_half(inputs: FourierInputs) -> list[str]:
    return [] if inputs.x_bld.dtype in HALF else [f"x is {inputs.x_bld.dtype}, and it is for float16 and bfloat16"]


def _slow_in_half(inputs: FourierInputs) -> list[str]:
    _, length, width = inputs.x_bld.shape
    both = length + width
    if not INSTALLED:
        return ["without Triton, which finds the quarter of x to multiply, a transform is faster"]
    return [f"L + D is {both:,}, and beyond {HALF_UP_TO:,} a transform is faster"] if both > HALF_UP_TO else []


_FORMS: Forms[FourierInputs, Tensor] = Forms(
    "fourier_mix",
    Form("torch", by_transform),
    Form("matmul", by_matmul, slow_reasons=_slow_as_matmul),
    Form("half", by_half_products, _not_half, _slow_in_half),
    Form("naive", naive.fourier_mix),
    preference={"cpu": ["matmul", "torch"], "cuda": ["half", "matmul", "torch"]},
)
