"""Fourier mixing: the real part of a 2-D Fourier transform over length and width."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from formers.ops.common import checks
from formers.ops.common.dispatch import Form, Forms
from formers.ops.token_mixing import naive
from formers.ops.token_mixing.fourier_matmul import by_matmul
from formers.ops.token_mixing.fourier_transform import by_transform

MATMUL_UP_TO = 1 << 20
"""Two matrix products are faster than a transform while B·L·D·(L + D), half their multiplications, is at most this:
they are fewer calls, and a small transform is mostly calls. Measured by `benchmarks/fourier.py`."""


def fourier_mix(x_bld: Tensor, *, impl: str = "auto") -> Tensor:
    """Return y = Re F_length F_width x, unnormalised: y_nd = Σ_le x_le cos(2π (nl/L + de/D)).

    Args:
        x_bld: (B, L, D). float16 and bfloat16 are computed in float32; y is about √(LD) times as large as x, which
            float16 may not hold.
        impl: "auto" (by measured crossover), "torch" (real-input transform), "matmul" (two matrix products with cosine
            and sine tables), or "naive" (from the formula).

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


_FORMS: Forms[FourierInputs, Tensor] = Forms(
    "fourier_mix",
    Form("torch", by_transform),
    Form("matmul", by_matmul, slow_reasons=_slow_as_matmul),
    Form("naive", naive.fourier_mix),
    preference={"cpu": ["matmul", "torch"], "cuda": ["matmul", "torch"]},
)
