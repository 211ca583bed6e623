"""How much memory an arm took at its peak."""

from __future__ import annotations

from pathlib import Path

import torch

RESET, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def start_peak() -> bool:
    """Forgets earlier peaks. Returns whether it could: only Linux, and GPUs, keep a peak that can be reset."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return True
    try:
        RESET.write_text("5")
    except OSError:
        return False
    return True


def peak_bytes() -> int | None:
    """Bytes at the peak since `start_peak`: of the GPU where there is one, else of the whole process (None off Linux)."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    if not STATUS.is_file():
        return None
    lines = [line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:")]
    return int(lines[0].split()[1]) * 1024 if lines else None
