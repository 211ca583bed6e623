"""What a memory in the place of a mixer's own state is to the mixer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from formers.mixers.context import Context
from formers.part import Part, State


@dataclass(frozen=True)
class MemoryInput:
    """A mixer whose steps a memory runs, and the tokens that it runs them on.

    The mixer is in here because accelerate moves what it finds among a module's arguments to the module's device.
    """

    mixer: Any
    context: Context


class MixerMemory(nn.Module):
    """A memory in the place of a mixer's own state: a submodule that runs the mixer's steps; see `formers.memory`."""

    states: ClassVar[tuple[type[State], ...]] = ()
    "Types of the states that it returns and goes on from."
    built_by: Part | None = None
    "The part that built the module."

    def forward(self, given: MemoryInput) -> tuple[Tensor, State | None]:
        """Return y (B, L, D) and the state after the last token, as the mixer's `mix` does without a memory."""
        raise NotImplementedError

    def touched(self, y: Tensor) -> Tensor:
        """Return the same output, on which all weights here have no effect, for steps in which they have none.

        Processes that train together wait for a gradient of each weight, and there would be none.
        """
        if self.training and torch.is_grad_enabled():
            for weight in self.parameters():
                y = y + 0 * weight.sum().to(y.dtype)
        return y
