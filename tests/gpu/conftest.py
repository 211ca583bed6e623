"""The device of these tests. They need torch, transformers and pytest alone, and run with `make test-gpu`."""

from __future__ import annotations

import os

import pytest
import torch


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark every test of this folder."""
    item.add_marker(pytest.mark.gpu)


@pytest.fixture(scope="session")
def device() -> str:
    """The GPU; with TRITON_INTERPRET=1 the CPU, where Triton's interpreter runs kernels. Skips without either."""
    if torch.cuda.is_available():
        return "cuda"
    if os.environ.get("TRITON_INTERPRET") == "1":
        return "cpu"
    pytest.skip("no CUDA device; set TRITON_INTERPRET=1 to run these tests on a CPU")
