"""Replays: computing something again exactly as before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Replay:
    """The state of random generators and of autocast when this was made, to be put back for a while."""

    def __init__(self, device: torch.device):
        self.device = device
        self.cpu = torch.get_rng_state()
        self.cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        self.kind = device.type if torch.amp.is_autocast_available(device.type) else "cpu"  # the meta device has none
        self.enabled, self.dtype = torch.is_autocast_enabled(self.kind), torch.get_autocast_dtype(self.kind)

    @contextmanager
    def again(self) -> Iterator[None]:
        """Restore random generators and autocast inside; afterwards, they are as they are now."""
        with torch.random.fork_rng(devices=[self.device] if self.cuda is not None else []):
            torch.set_rng_state(self.cpu)
            if self.cuda is not None:
                torch.cuda.set_rng_state(self.cuda, self.device)
            with torch.autocast(self.kind, dtype=self.dtype, enabled=self.enabled):
                yield
