"""Faults that a Decision Transformer would decide by."""

from __future__ import annotations

from typing import Any

from planting import Patch, fault, spoiled
from torch import Tensor, nn

from formers.mixers import Softmax
from formers.part import Part
from formers.testing import laws


@fault(laws.decisions_follow_from_the_past)
def a_decision_sees_its_own_action(patch: Patch) -> Part:
    return spoiled(Softmax(), lambda y, x, state, module: (y + 1e-6 * x.roll(-1, 1), state))


@fault(laws.decisions_follow_from_the_past)
def a_decision_sees_nothing(patch: Patch) -> Part:
    def deaf(y: Tensor, x: Tensor, state: Any, module: nn.Module) -> Any:
        return y * 0 - 1e20, state  # beside which the stream is lost in the last norm

    return spoiled(Softmax(), deaf)


@fault(laws.padded_steps_move_no_decision)
def padded_steps_leak(patch: Patch) -> Part:
    return spoiled(Softmax(), lambda y, x, state, module: (y + 1e-6 * x.nan_to_num().cumsum(1), state))
