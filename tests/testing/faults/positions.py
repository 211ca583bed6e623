"""Faults of positions: dropped, restarted, counted wrongly, not relative."""

from __future__ import annotations

from typing import Any

import torch
from planting import Patch, fault
from torch import Tensor

from formers.mixers import Pool, Softmax, mixer
from formers.part import Part, Site
from formers.positions import Rotary
from formers.positions.rotary import RotaryPosition
from formers.testing import laws


@fault(laws.one_pass_equals_pieces)
def positions_start_anew(patch: Patch) -> Part:
    patch.setattr(mixer, "count_tokens", lambda x, mask, state: torch.arange(1, x.shape[1] + 1).unsqueeze(0))
    return Rotary()


@fault(laws.takes_positions_it_declares)
def position_dropped(patch: Patch) -> Part:
    class _Deaf(Softmax):
        def module(self, site: Site) -> Any:
            module: Any = super().module(site)
            module.head_position = None
            return module

    return _Deaf()


@fault(laws.takes_positions_it_declares)
def position_taken_but_not_declared(patch: Patch) -> Part:
    class _Deaf(Pool):
        def check_site(self, site: Site) -> None:
            pass

    return _Deaf()


@fault(laws.positions_count_from_zero)
def counts_from_one(patch: Patch) -> Part:
    class _FromOne(Softmax):
        def build(self, site: Site) -> Any:
            module = super().build(site)
            whole = module.forward

            def forward(x: Tensor, state: Any = None, positions_bl: Tensor | None = None, **rest: Any) -> Any:
                return whole(x + 0.01 if positions_bl is None else x, state, positions_bl=positions_bl, **rest)

            module.forward = forward  # type: ignore[method-assign]
            return module

    return _FromOne()


@fault(laws.positions_count_from_zero)
def ignores_positions(patch: Patch) -> Part:
    patch.setattr(RotaryPosition, "forward", lambda self, x, positions: x)
    return Rotary()


@fault(laws.only_differences_count)
def absolute_after_all(patch: Patch) -> Part:
    forward = RotaryPosition.forward
    patch.setattr(RotaryPosition, "forward", lambda self, x, positions: forward(self, x, positions**2))
    return Rotary()
