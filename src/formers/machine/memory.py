"""How much memory an arm took at its peak, and whether it ran out of it."""

from __future__ import annotations

from pathlib import Path

import torch

_RAN_OUT = ("can't allocate memory", "not enough memory", "out of memory")
"""What the messages of torch's allocators say."""
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


def memory_ran_out(error: Exception) -> bool:
    """Whether an error says that there was not enough memory."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _RAN_OUT)
