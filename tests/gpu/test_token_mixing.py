"""Fourier mixing by products in half precision on a GPU, against the naive form, gradients too."""

from __future__ import annotations

import pytest
import torch

from formers.ops import fourier_mix
from formers.ops.token_mixing import naive
from formers.testing.tolerance import assert_close_derived


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(("length", "width"), [(1, 1), (33, 18), (8, 5), (128, 192), (13, 2500), (512, 768)])
def test_equals_the_naive_form(length: int, width: int, dtype: torch.dtype, device: str) -> None:
    x = torch.randn(2, length, width, generator=torch.Generator().manual_seed(0)).to(device)
    assert_close_derived(lambda x: fourier_mix(x, impl="half"), naive.fourier_mix, [x], dtype=dtype)
