"""The product that rates are shares of has the benchmark's dtype where tensor cores multiply it faster."""

from __future__ import annotations

import pytest
import torch

from formers.bench.measuring.yardstick import product_dtype, square_product


@pytest.mark.parametrize(
    ("device", "dtype", "wanted"),
    [
        ("cpu", "bfloat16", "float32"),
        ("cpu:0", "float16", "float32"),
        ("cuda", "bfloat16", "bfloat16"),
        ("cuda:1", "float32", "float32"),
    ],
)
def test_the_dtype_of_the_product(device: str, dtype: str, wanted: str) -> None:
    assert product_dtype(device, dtype) == wanted


def test_the_product_is_of_its_dtype_and_size() -> None:
    product = square_product(2.0 * 16**3, dtype="float16")()
    assert (product.dtype, product.shape) == (torch.float16, (16, 16))
