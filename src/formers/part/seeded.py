"""Random numbers that begin at a seed for a while, and leave no trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Let torch's random numbers begin at a seed inside the block, on the CPU and on one other device at most.

    After it they go on as if nothing had been drawn. Those of all other devices are never touched, which
    `torch.manual_seed` would begin anew without an end.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        if device is None or device.type in ("cpu", "meta"):
            yield
            return
        kind = torch.get_device_module(device)
        with _current(device):
            before = kind.get_rng_state()
            kind.manual_seed(seed)
        try:
            yield
        finally:
            with _current(device):
                kind.set_rng_state(before)


def _current(device: torch.device) -> torch.cuda.device | nullcontext[None]:
    """Return the context in which functions of a device's module mean this one, where there may be several."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
