"""Peak memory, and errors that mean there was too little of it."""

from __future__ import annotations

from pathlib import Path

import torch

_MESSAGES = (
    *("can't allocate memory", "not enough memory", "out of memory", "Storage size calculation overflowed"),
    "_ALLOC_FAILED",  # of CUDA's libraries, as cuBLAS, which takes its workspace past torch's allocator
)
"""Words in the errors of torch's allocators, and of the libraries below it."""
_RESET, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def reset_peak(device: torch.device | str) -> bool:
    """Forget a device's earlier peaks, and return whether that was possible: only Linux and GPUs keep one that can be
    reset."""
    if _is_gpu(device):
        torch.cuda.reset_peak_memory_stats(device)
        return True
    try:
        _RESET.write_text("5")
    except OSError:
        return False
    return True


def peak_bytes(device: torch.device | str) -> int | None:
    """Return the peak in bytes since `reset_peak`: of a GPU's allocator, else of the process (None off Linux)."""
    if _is_gpu(device):
        return torch.cuda.max_memory_allocated(device)
    if not _STATUS.is_file():
        return None
    lines = [line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:")]
    return int(lines[0].split()[1]) * 1024 if lines else None


def _is_gpu(device: torch.device | str) -> bool:
    return torch.device(device).type == "cuda"


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that there was not enough memory."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _MESSAGES)
