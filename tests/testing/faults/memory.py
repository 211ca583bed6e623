"""Faults of memories: gradients that pass from segment to segment, or that do not reach the projections."""

from __future__ import annotations

from typing import Any

from planting import Patch, fault
from torch import Tensor

from formers.memory import Memorizing, Recurrent
from formers.memory.remembered import Remembered
from formers.mixers import MixerMemory
from formers.mixers.context import Context
from formers.part import Part
from formers.testing import laws


@fault(laws.memories_stop_gradients)
def remembers_with_its_graph(patch: Patch) -> Part:
    def of(context: Context, k_bglk: Tensor, v_bglv: Tensor) -> Remembered:
        return Remembered(context.x_bld, context.positions_bl, context.mask_bl)

    patch.setattr(Remembered, "of", of)
    return Recurrent()


@fault(laws.every_parameter_trains)
def leaves_its_weights_out_until_there_is_something(patch: Patch) -> Part:
    patch.setattr(MixerMemory, "touched", lambda self, y: y)
    return Memorizing(window=8, size=20, k=4)


@fault(laws.memories_stop_gradients)
def keeps_keys_that_no_longer_learn(patch: Patch) -> Part:
    made_again = Remembered.keys

    def keys(self: Remembered, mixer: Any) -> tuple[Tensor, Tensor]:
        k, v = made_again(self, mixer)
        return k.detach(), v.detach()

    patch.setattr(Remembered, "keys", keys)
    return Recurrent()
