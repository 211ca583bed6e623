"""What is timed of a mixer: a pass over the sequence, a training step, reading a prompt, and writing token by token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from formers.bench.sizes import Sizes
from formers.bench.timing import Call
from formers.part import State

Phase: TypeAlias = Literal["forward", "training", "prefill", "step"]
PHASES: tuple[Phase, ...] = get_args(Phase)
TITLES: dict[str, str] = {
    "forward": "Forward",
    "training": "Forward + backward",
    "prefill": "Prefill",
    "step": "One streaming step",
}
MEANINGS: dict[str, str] = {
    "forward": "one pass over the sequence, without gradients",
    "training": "one pass in training mode, and the gradients of the input and of every parameter",
    "prefill": "one pass over a prompt that keeps the streaming state",
    "step": "the next token, after as many as the length says: the mean of 16 in a row",
}
_STEPS = 16
"""Tokens in a timed run of streaming steps; one alone takes no longer than looking at the clock."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A call that is ready to be timed, and the bytes of the streaming state it keeps or carries on."""

    call: Call
    state_bytes: int | None = None


def prepare(build: Callable[[], nn.Module], phase: Phase, sizes: Sizes, device: str) -> Prepared:
    """The call that does `phase` with a mixer that `build` makes: `y, state = mixer(x, state)` on (B, L, D)."""
    x_bld = torch.randn(sizes.batch, sizes.length, sizes.width, device=device)
    mixer = build().to(device)
    if phase == "training":
        return Prepared(call=Call(run=training(mixer.train(), x_bld)))
    mixer.eval()
    if phase == "forward":
        return Prepared(call=Call(run=without_gradients(lambda: mixer(x_bld))))
    state = state_after(mixer, x_bld)
    if phase == "prefill":
        return Prepared(call=Call(run=without_gradients(lambda: mixer(x_bld))), state_bytes=state.nbytes)
    return Prepared(call=_Stream(mixer, state, x_bld[:, :1]).call(), state_bytes=state.nbytes)


def training(mixer: nn.Module, x_bld: Tensor) -> Callable[[], None]:
    x_bld.requires_grad_()
    wanted = [x_bld, *mixer.parameters()]
    return lambda: gradients(mixer(x_bld)[0], wanted)


def gradients(y: Tensor, wanted: Sequence[Tensor]) -> None:
    """Runs the backward pass and throws its result away. A parameter may have no part in it."""
    torch.autograd.grad(y, wanted, torch.ones_like(y), allow_unused=True)


def without_gradients(run: Callable[[], Any]) -> Callable[[], Any]:
    def call() -> Any:
        with torch.no_grad():
            return run()

    return call


@torch.no_grad()
def state_after(mixer: nn.Module, x_bld: Tensor) -> State:
    state = mixer(x_bld)[1]
    if not isinstance(state, State):
        raise TypeError(
            f"{type(mixer).__name__} returns {type(state).__name__} where a state to stream with was expected"
        )
    return state


class _Stream:
    """One token after the other, from a state that is the same each time.

    Each run starts from a copy of the state, as a part with a growing cache writes on in place; that a first token makes
    room in the copy is not timed.
    """

    def __init__(self, mixer: nn.Module, state: State, token_b1d: Tensor) -> None:
        self.mixer, self.start, self.token_b1d, self.state = mixer, state, token_b1d, state

    def call(self) -> Call:
        return Call(run=self.run, prepare=self.prepare, repeats=_STEPS)

    @torch.no_grad()
    def prepare(self) -> None:
        _, self.state = self.mixer(self.token_b1d, self.start.map(Tensor.clone))

    @torch.no_grad()
    def run(self) -> None:
        state = self.state  # and not kept after: what a run leaves behind would count as another run's memory
        for _ in range(_STEPS):
            _, state = self.mixer(self.token_b1d, state)
