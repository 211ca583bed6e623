"""The Triton kernels of all ops, compiled for GPUs that need not be there: see `compiled.py` and `variants.py`."""

from __future__ import annotations

import pytest


@pytest.mark.slow
@pytest.mark.parametrize(("capability", "shared"), [("80", 163 * 1024), ("89", 99 * 1024), ("90", 227 * 1024)])
def test_compiles_for_gpus_that_are_not_here(capability: str, shared: int, kernel_script) -> None:
    sizes = kernel_script("compiled.py", capability)
    assert len(sizes) > 20
    assert {name: size for name, size in sizes.items() if size > shared} == {}  # bytes that a program there may take


def test_another_length_compiles_nothing(kernel_script) -> None:
    counts = kernel_script("variants.py")
    assert len(counts["once"]) == 16
    assert counts["often"] == counts["once"]
