"""The input and the output of a stack of layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from torch import Tensor, nn

from formers.mixers.documents import Documents, GlobalMask, Mask
from formers.part import State


@dataclass(frozen=True)
class StackInput:
    """The layers of a model, and everything that they are run on.

    The layers are in here because accelerate moves what it finds among a module's arguments to the module's device.

    Attributes:
        layers: from the first to the last, wherever each of them is.
        x_bld: embedded tokens, (B, L, D), their norm and dropout applied.
        positions_bl: position of each token, (B or 1, L).
        mask_bl: True = a real token, (B, L); `Documents`, where rows hold several; None = all real.
        past: the states to go on from, as many as `ComputationModule.states` says; None at the start.
        keep_states: whether the states after the tokens are asked for.
        keep_hidden: whether the hidden states that enter each step are asked for.
        recompute: calls a function so that it runs again in the backward pass and keeps its inputs alone; None: layers
            keep what they need. It takes no names, so that reentrant checkpointing may do it.
        scores: (layer n from 1, hidden states (…, D) behind it) → scores of the vocabulary, where the model's head has
            exits; the norm at the end is applied there.
    """

    layers: nn.ModuleList
    x_bld: Tensor
    positions_bl: Tensor
    mask_bl: Mask = None
    past: Sequence[State | None] = ()
    keep_states: bool = False
    keep_hidden: bool = False
    recompute: Callable[..., Any] | None = None
    scores: Callable[[int, Tensor], Tensor] | None = None

    def with_past(self, past: Sequence[State | None]) -> StackInput:
        """Return the same with other states to go on from."""
        return replace(self, past=past)

    @property
    def blocks(self) -> list[Any]:
        """The layers: blocks, or what wraps them, with all their methods."""
        return list(self.layers)

    @property
    def real_bl(self) -> Tensor | None:
        """True = a real token, (B, L), where rows hold several documents, too; None = all real."""
        mask = self.mask_bl.mask if isinstance(self.mask_bl, GlobalMask) else self.mask_bl
        return mask.mask_bl if isinstance(mask, Documents) else mask

    @property
    def tensor_mask(self) -> Tensor | None:
        """The mask where there are states: rows hold one document each, and have no global tokens of their own."""
        assert not isinstance(self.mask_bl, Documents | GlobalMask), "these have no states"
        return self.mask_bl


class StackOutput(NamedTuple):
    """Everything that the layers of a model give.

    Attributes:
        x_bld: hidden states, (B, L, D), before the norm at the end.
        states: the states after the tokens, as many as `ComputationModule.states` says; empty unless asked for.
        hidden: the hidden states that entered each step, (B, L, D); empty unless asked for.
        steps_bl: how many steps each token took, (B, L), 0 for padding; None where it is `depth` for all.
    """

    x_bld: Tensor
    states: Sequence[Any] = ()
    hidden: Sequence[Tensor] = ()
    steps_bl: Tensor | None = None
