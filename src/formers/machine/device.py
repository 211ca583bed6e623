"""The device that something runs on: chosen, and named."""

from __future__ import annotations

import platform
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def choose_device(asked: str) -> str:
    """Return `cuda` or `cpu`; "auto" is a GPU where there is one.

    Raise ValueError for any other name, and for `cuda` where there is no GPU.
    """
    import torch

    if asked not in ("auto", "cpu", "cuda"):
        raise ValueError(f"the device is auto, cpu or cuda, but {asked!r} was given")
    has_gpu = torch.cuda.is_available()
    if asked == "cuda" and not has_gpu:
        raise ValueError("device cuda was asked for, but torch sees no GPU here; use cpu, or auto")
    return "cuda" if has_gpu and asked != "cpu" else "cpu"


def device_name(device: torch.device | str) -> str:
    """Return the name of a device, the GPU's or the processor's; "auto" is a GPU where there is one."""
    import torch

    kind = "cuda" if device == "auto" else torch.device(device).type
    if kind == "cuda" and torch.cuda.is_available():
        return torch.cuda.get_device_name(None if device == "auto" else device)
    return f"cpu ({processor_name()})"


@lru_cache(maxsize=1)
def processor_name() -> str:
    """Return the processor's model name, or its architecture where the system does not tell."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
