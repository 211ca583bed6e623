"""The signal of a step: an encoding of positions and of the step's number, added to the hidden states."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from formers.part import Site
from formers.positions.learned import LearnedPosition
from formers.positions.sinusoidal import sinusoids

Encoding: TypeAlias = Literal["sinusoidal", "learned", "none"]


class StepSignal(nn.Module):
    """x + P(i) + P(t): i is the position, t = 1, 2, … the step. Either encoding may be learned, or absent.

    Positions are encoded once for all steps: call `encode`, then the module with what it gave.
    """

    def __init__(self, site: Site, steps: int, position: Encoding, time: Encoding):
        super().__init__()
        if site.width % 2 and "sinusoidal" in (position, time):
            raise ValueError(f"sinusoids need an even width, but it is {site.width}; choose learned or none")
        self.width, self.kinds = site.width, (position, time)
        learned = LearnedPosition(site.context_length, site.width, copy=False) if position == "learned" else None
        self.position_table = learned
        self.time_table = nn.Embedding(steps, site.width) if time == "learned" else None

    def encode(self, positions_bl: Tensor, x_bld: Tensor) -> Tensor | None:
        """Return P(i) in the dtype of the hidden states, (B or 1, L, D); None where positions are not encoded."""
        if self.position_table is not None:
            encoded_bld: Tensor = self.position_table(x_bld.new_zeros(()), positions_bl)
            return encoded_bld
        return self._sinusoids(positions_bl, x_bld) if self.kinds[0] == "sinusoidal" else None

    def forward(self, x_bld: Tensor, encoded_bld: Tensor | None, step: int) -> Tensor:
        """Return what enters step `step`, counted from 0, of hidden states and their positions' encoding."""
        if encoded_bld is not None:
            x_bld = x_bld + encoded_bld.to(x_bld.device)  # the layer before may be on another one
        if self.kinds[1] == "none":
            return x_bld
        at = torch.full((1, 1), step, device=x_bld.device)
        if self.time_table is not None:
            return x_bld + self.time_table(at).to(x_bld.device)
        return x_bld + self._sinusoids(at + 1, x_bld)

    def _sinusoids(self, at_bl: Tensor, x_bld: Tensor) -> Tensor:
        wide = torch.promote_types(x_bld.dtype, torch.float32)
        return sinusoids(at_bl, self.width, dtype=wide).to(x_bld.dtype)
