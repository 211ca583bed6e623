"""Random numbers that begin at a seed for a while, and leave no trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Let torch's random numbers begin at a seed inside the block, on the CPU and on one other device at most.

    After it they go on as if nothing had been drawn. Those of all other devices are never touched, which
    `torch.manual_seed` would begin anew without an end.
    """
    before = random_state_of(device)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        if device is not None and before is not None:
            with _current(device):
                torch.get_device_module(device).manual_seed(seed)
        try:
            yield
        finally:
            set_random_state_of(device, before)


def random_state_of(device: torch.device | None) -> Tensor | None:
    """Return the state of the random numbers that a device draws itself; None where it draws those of the CPU."""
    if device is None or device.type in ("cpu", "meta"):
        return None
    with _current(device):
        state: Tensor = torch.get_device_module(device).get_rng_state()
    return state


def set_random_state_of(device: torch.device | None, state: Tensor | None) -> None:
    """Let the random numbers that a device draws itself go on from a state; None changes nothing."""
    if device is not None and state is not None:
        with _current(device):
            torch.get_device_module(device).set_rng_state(state)


def _current(device: torch.device) -> torch.cuda.device | nullcontext[None]:
    """Return the context in which functions of a device's module mean this one, where there may be several."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
