"""The grids of all Triton kernels at extreme sizes, launched nowhere: a GPU takes 65,535 programs on a later axis."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from formers import ops
from formers.ops.linear_attention import exp_features_triton, fourier_features_triton
from formers.ops.token_mixing import triton_fold
from formers.ops.token_wise import triton_max_norm, triton_opposite_softmaxes

HOUSE = Path(ops.__file__).parent
MOST = (2**31 - 1, 65_535, 65_535)
"""Programs on each axis."""


def empty(*shape: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    return torch.empty(*shape, dtype=dtype, device="meta")


def linear(batch: int, heads: int, length: int, width: int, decays: bool) -> None:
    from formers.ops.linear_attention.triton_launch import TritonInputs, TritonOptions, backward, forward

    q, k, v = (empty(batch, heads, length, width) for _ in range(3))
    log_g = empty(batch, heads, length, dtype=torch.float32) if decays else None
    given, options = TritonInputs(q, k, v, None, None, log_g, None), TritonOptions(True, True, 1e-18, "elu")
    found = forward(given, options)
    backward(given, found, (empty(*found.y.shape), None, None), options)


def features(batch: int, heads: int, length: int) -> None:
    x, w = empty(batch, heads, length, 64), empty(266, 64)
    phi = exp_features_triton.features(x, w, None, torch.bfloat16)
    exp_features_triton.gradients(phi, phi, w, x, None)
    phi = fourier_features_triton.features(x, w, torch.bfloat16)
    fourier_features_triton.gradients(phi, phi, w, x)


def rows(count: int, width: int) -> None:
    x = empty(count, width)
    triton_max_norm.gradient_of(x, triton_max_norm.normalized(x, 1e-3), 1e-3)
    phi = triton_opposite_softmaxes.both(x)
    triton_opposite_softmaxes.gradient_of(x, phi, phi)


def folds(batch: int, length: int, width: int) -> None:
    triton_fold.unfold(*triton_fold.fold(empty(batch, length, width)), length, width)


CALLS = {
    "long, decay": lambda: linear(1, 1, 2**25, 512, True),
    "long": lambda: linear(1, 8, 2**25, 64, False),
    "many sequences": lambda: linear(2**16, 16, 2, 64, True),
    "features": lambda: features(2**12, 16, 2**12),
    "rows": lambda: rows(2**24, 8192),
    "folds": lambda: folds(2**16, 2**12, 2**12),
    "wide folds": lambda: folds(1, 2, 2**20),
}


def kernels() -> set[str]:
    """Return the names of the functions in Triton's language that no other of them calls."""
    texts = [path.read_text() for path in HOUSE.rglob("triton_*.py")]
    text = "\n".join(text for text in texts if "@triton.jit" in text)
    names = re.findall(r"^@triton\.jit.*\ndef ([a-z]\w+)\(", text, re.MULTILINE)
    return {name for name in names if not re.search(rf"(?<!def )\b{name}\(", text)}


@pytest.fixture
def grids(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[tuple[int, ...]]]:
    """Takes the grids of kernels by their names, in the place of launches."""
    jit = pytest.importorskip("triton.runtime.jit")
    found: dict[str, list[tuple[int, ...]]] = {}

    def run(kernel, *_, grid, **__) -> None:
        found.setdefault(kernel.fn.__name__, []).append(grid)

    monkeypatch.setattr(jit.JITFunction, "run", run)
    return found


def test_every_grid_is_one_that_a_gpu_takes(grids) -> None:
    launched, wrong = set(), {}
    for name, call in CALLS.items():
        grids.clear()
        call()
        launched |= grids.keys()
        for kernel, several in grids.items():
            if any(size > most for grid in several for size, most in zip(grid, MOST, strict=False)):
                wrong[name, kernel] = several
    assert wrong == {}
    assert launched == kernels()
