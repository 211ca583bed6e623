"""Whether what Triton compiles multiplies on a GPU's tensor cores."""

from __future__ import annotations

from functools import cache

import torch

_SINCE = (8, 0)
"""The compute capability from which on it does: a T4 has 7.5."""


def tensor_core_reasons(device: torch.device) -> list[str]:
    """Return why Triton's products are slow on a GPU: on an old one they are single multiplications, slow to compile.

    There cuBLAS multiplies on tensor cores, and so do forms that are made of torch's operations.
    """
    if device.type != "cuda" or not _lacks_them(device.index):
        return []
    least = ".".join(map(str, _SINCE))
    return [f"Triton's products run on tensor cores from compute capability {least} on, and this GPU has less"]


def _lacks_them(index: int | None) -> bool:
    return _capability(index) < _SINCE


# What `torch.compiler.assume_constant_result` does, without importing the compiler.
_lacks_them._dynamo_marked_constant = True  # type: ignore[attr-defined]


@cache
def _capability(index: int | None) -> tuple[int, int]:
    """Return the compute capability of a GPU; the least that will do for AMD's, and where there is none."""
    if torch.version.hip is not None or not torch.cuda.is_available():
        return _SINCE
    return torch.cuda.get_device_capability(index)
