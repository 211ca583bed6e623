"""Replays: computing something again exactly as before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from formers.part.seeded import random_state_of, set_random_state_of


class Replay:
    """The state of random generators and of autocast when this was made, to be put back for a while."""

    def __init__(self, device: torch.device):
        self.device = device
        self.cpu, self.own = torch.get_rng_state(), random_state_of(device)
        self.kind = device.type if torch.amp.is_autocast_available(device.type) else "cpu"  # the meta device has none
        self.enabled, self.dtype = torch.is_autocast_enabled(self.kind), torch.get_autocast_dtype(self.kind)

    @contextmanager
    def again(self) -> Iterator[None]:
        """Restore random generators and autocast inside; afterwards, they are as they are now."""
        now = random_state_of(self.device)
        with torch.random.fork_rng(devices=[]), torch.autocast(self.kind, dtype=self.dtype, enabled=self.enabled):
            torch.set_rng_state(self.cpu)
            set_random_state_of(self.device, self.own)
            try:
                yield
            finally:
                set_random_state_of(self.device, now)
