"""The environment that a worker process is started in: its variables, its GPU, and no Ctrl-C."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def gpu_of_worker(number: int) -> dict[str, str]:
    """Return the variable that makes a worker see one GPU only, where there are any: the workers take them in turn."""
    if not torch.cuda.is_available():
        return {}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    names = [name for name in visible if name] or [str(i) for i in range(torch.cuda.device_count())]
    return {"CUDA_VISIBLE_DEVICES": names[number % len(names)]}


@contextmanager
def changed_environment(changes: dict[str, str]) -> Iterator[None]:
    """Set environment variables while the block runs, for a process that is started in it.

    OpenMP and CUDA read theirs as they are loaded, so that it is too late to set them in the new process.
    """
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ.update({} if value is None else {name: value})


@contextmanager
def ignore_ctrl_c() -> Iterator[None]:
    """Ignore Ctrl-C while the block runs, also in processes that are started in it.

    A terminal sends it to every process; the one that starts the others decides what to do.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set what signals do
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
