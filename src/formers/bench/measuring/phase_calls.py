"""From a mixer and a phase to a call that can be timed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from formers.bench.measuring.timing import Call
from formers.bench.phases import STEPS, Phase
from formers.bench.sizes import Sizes
from formers.mixers import MixerModule
from formers.part import State


@dataclass(frozen=True, kw_only=True)
class PhaseCall:
    """A call that is ready to be timed, and the bytes of the streaming state that it keeps or carries on."""

    call: Call
    state_bytes: int | None = None


def mixer_call(build: Callable[[], nn.Module], phase: Phase, sizes: Sizes, device: str) -> PhaseCall:
    """Return the call that does `phase` with a mixer that `build` makes: `y, state = mixer(x, state)` on (B, L, D)."""
    x_bld = torch.randn(sizes.batch, sizes.length, sizes.width, device=device)
    mixer = build().to(device)
    if phase == "training":
        mixer.train()
        return PhaseCall(call=training_call(lambda: mixed(mixer, x_bld), [x_bld.requires_grad_(), *mixer.parameters()]))
    mixer.eval()
    if phase == "forward":
        return PhaseCall(call=inference_call(lambda: mixed(mixer, x_bld)))
    state = state_after(mixer, x_bld)
    if phase == "prefill":
        return PhaseCall(call=inference_call(lambda: mixer(x_bld)), state_bytes=state.nbytes)
    return PhaseCall(call=_StreamingSteps(mixer, state, x_bld[:, :1]).call(), state_bytes=state.nbytes)


def mixed(mixer: nn.Module, x_bld: Tensor) -> Tensor:
    """Return what a mixer makes of x, as a model calls it that keeps no states: ours make none then."""
    y_bld: Tensor = mixer(x_bld, keep_state=False)[0] if isinstance(mixer, MixerModule) else mixer(x_bld)[0]
    return y_bld


def training_call(forward: Callable[[], Tensor], wanted: Sequence[Tensor]) -> Call:
    """Return a call of `forward` and of its backward pass to `wanted`, some of which may have no part in it."""

    def run() -> None:
        y = forward()
        torch.autograd.grad(y, wanted, torch.ones_like(y), allow_unused=True)

    return Call(run=run)


def inference_call(run: Callable[[], Any]) -> Call:
    """Return a call of `run` without gradients."""
    return Call(run=torch.no_grad()(run))


@torch.no_grad()
def state_after(mixer: nn.Module, x_bld: Tensor) -> State:
    """Return the streaming state after `x_bld`. Raise TypeError for a mixer that returns none."""
    state = mixer(x_bld)[1]
    if not isinstance(state, State):
        raise TypeError(
            f"{type(mixer).__name__} returns {type(state).__name__} where a state to stream with was expected"
        )
    return state


class _StreamingSteps:
    """One token after the other, from a state that is the same each time.

    Each run starts from a copy of the state, as a part with a growing cache writes on in place; that a first token
    makes room in the copy is not timed.
    """

    def __init__(self, mixer: nn.Module, state: State, token_b1d: Tensor) -> None:
        self.mixer, self.start, self.token_b1d, self.state = mixer, state, token_b1d, state

    def call(self) -> Call:
        """Return the call that is timed."""
        return Call(run=self.run, prepare=self.prepare, repeats=STEPS)

    @torch.no_grad()
    def prepare(self) -> None:
        """Copy the state, and take a first step that is not timed."""
        _, self.state = self.mixer(self.token_b1d, self.start.map(Tensor.clone))

    @torch.no_grad()
    def run(self) -> None:
        """Take `STEPS` steps."""
        state = self.state  # and not kept after: what a run leaves behind would count as another run's memory
        for _ in range(STEPS):
            _, state = self.mixer(self.token_b1d, state)
