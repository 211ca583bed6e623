"""The memory that a call takes at its peak, and a limit that turns too much of it into an error."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

_SHARE = 0.9
"Of the memory that is free, the share that one process may take."
STATUS, MEMINFO, CGROUP = Path("/proc/self/status"), Path("/proc/meminfo"), Path("/sys/fs/cgroup")


def peak_bytes(run: Callable[[], Any], device: str = "cpu") -> int:
    """Return the most bytes of tensors alive at once during a call, beyond those before it, by the allocator's records.

    Call `run` once before: the first time, it may make what it keeps.
    """
    if device.startswith("cuda"):
        return _gpu_peak_bytes(run, device)
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # the profiler would tell standard error of each start and end
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        run()
    events = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]  # type: ignore[union-attr]
    alive = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        alive += event.nbytes()
        peak = max(peak, alive)
    return peak


def _gpu_peak_bytes(run: Callable[[], Any], device: str) -> int:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


@contextmanager
def memory_limit(free: int | None = None) -> Iterator[None]:
    """Limit this process, while the block runs, to the memory that is free: an allocation beyond it raises.

    Without the limit, Linux promises memory that it does not have, and then ends the process that uses it. Where the
    system tells neither what is free nor sets limits (other systems than Linux), the block runs without one.

    Args:
        free: bytes; by default `_SHARE` of what the system has free.
    """
    if free is None and (found := _free_bytes()) is not None:
        free = int(_SHARE * found)
    if free is None:
        yield
        return
    import resource  # there is none on Windows, where `_free_bytes` returns None

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = _field(STATUS, "VmData:") + free
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _free_bytes() -> int | None:
    """Return the bytes that this process could still take, of the machine or of its container; None where unknown."""
    if not MEMINFO.is_file():
        return None
    free, most = _field(MEMINFO, "MemAvailable:"), CGROUP / "memory.max"
    if not most.is_file() or most.read_text().strip() == "max":
        return free
    cached = _field(CGROUP / "memory.stat", "inactive_file", unit=1)  # given back as soon as it is needed
    return min(free, int(most.read_text()) - int((CGROUP / "memory.current").read_text()) + cached)


def _field(path: Path, name: str, unit: int = 1024) -> int:
    """Return the number behind a name in one of the system's tables, in bytes."""
    [line] = [line for line in path.read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1]) * unit
