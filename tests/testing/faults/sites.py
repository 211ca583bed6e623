"""Faults that show only where a position acts: positions restarted, counted with padding, or left out of the state."""

from __future__ import annotations

from typing import Any

import torch
from planting import Patch, fault
from torch import Tensor

from formers.mixers import Softmax
from formers.part import Part, Site
from formers.testing import laws


class _Turned(Softmax):
    """Softmax attention whose rotary position is told that tokens stand elsewhere: at `change(positions)`."""

    def change(self, positions_bl: Tensor) -> Tensor:
        raise NotImplementedError

    def module(self, site: Site) -> Any:
        module: Any = super().module(site)
        position = module.head_position
        if position is not None:
            turn = position.forward
            position.forward = lambda x, positions_bl: turn(x, self.change(positions_bl))
        return module


@fault(laws.one_pass_equals_pieces)
@fault(laws.same_as_reference)
def position_restarts_in_each_chunk(patch: Patch) -> Part:
    class _Restarting(_Turned):
        def change(self, positions_bl: Tensor) -> Tensor:
            return positions_bl - positions_bl[:, :1]

    return _Restarting()


@fault(laws.padding_does_not_matter)
def position_counts_padding(patch: Patch) -> Part:
    class _Counting(_Turned):
        def change(self, positions_bl: Tensor) -> Tensor:
            return torch.arange(positions_bl.shape[1]).unsqueeze(0) + positions_bl[:, :1]

    return _Counting()


@fault(laws.one_pass_equals_pieces)
def keys_in_the_state_are_not_turned(patch: Patch) -> Part:
    class _Unturned(Softmax):
        def module(self, site: Site) -> Any:
            module: Any = super().module(site)
            position, calls = module.head_position, []
            if position is not None:
                turn = position.forward

                def forward(x: Tensor, positions_bl: Tensor) -> Tensor:
                    calls.append(1)
                    keys = len(calls) % 2 == 0  # queries first, then keys
                    return turn(x, torch.zeros_like(positions_bl) if keys and x.shape[2] == 1 else positions_bl)

                position.forward = forward
            return module

    return _Unturned()


@fault(laws.only_differences_count)
def position_is_absolute_in_the_mixer(patch: Patch) -> Part:
    class _Absolute(_Turned):
        def change(self, positions_bl: Tensor) -> Tensor:
            return positions_bl**2

    return _Absolute()
