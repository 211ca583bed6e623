"""Faults around whose state it is: foreign ones taken, empty chunks that count, tensors of inference mode."""

from __future__ import annotations

from typing import Any

import torch
from planting import Patch, fault
from torch import Tensor

from formers.mixers import Linear, Softmax
from formers.mixers.context import Context
from formers.mixers.linear_mixer import LinearMixer, LinearMixerState
from formers.mixers.mixer import MixerModule
from formers.part import Part, State
from formers.testing import laws


@fault(laws.foreign_states_raise)
def drops_foreign_states(patch: Patch) -> Part:
    patch.setattr(MixerModule, "check_state", lambda self, state: None)
    patch.setattr(LinearMixer, "sums_of", lambda self, state: getattr(state, "sums", None))
    return Linear()


@fault(laws.foreign_states_raise)
def refuses_without_a_reason(patch: Patch) -> Part:
    def check(self: Any, state: State) -> None:
        if not isinstance(state, LinearMixerState):
            raise TypeError("wrong state")

    patch.setattr(MixerModule, "check_state", check)
    return Linear()


@fault(laws.empty_chunks_change_nothing)
def counts_an_empty_chunk(patch: Patch) -> Part:
    forward = MixerModule.forward

    def faulty(self: Any, x_bld: Tensor, state: Any = None, **rest: Any) -> Any:
        if x_bld.shape[1] or state is None:
            return forward(self, x_bld, state, **rest)
        return x_bld, state.map(lambda t: t * 2 if t.is_floating_point() else t + 1)

    patch.setattr(MixerModule, "forward", faulty)
    return Linear()


@fault(laws.states_leave_inference_mode)
def keeps_tensors_of_inference_mode(patch: Patch) -> Part:
    patch.setattr(State, "outside_inference_mode", lambda self: self)
    return Softmax()


@fault(laws.states_leave_inference_mode)
def forgets_what_inference_mode_made(patch: Patch) -> Part:
    mix = LinearMixer.attend

    def faulty(self: Any, qkv: Any, context: Context) -> Any:
        y, state = mix(self, qkv, context)
        if torch.is_inference_mode_enabled() and state is not None:
            state = state.map(torch.zeros_like)
        return y, state

    patch.setattr(LinearMixer, "attend", faulty)
    return Linear()
