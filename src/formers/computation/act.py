"""Adaptive computation time: each token decides when to stop."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from formers.computation.computation import ComputationModule
from formers.computation.halting import HaltingProgress
from formers.computation.halting_state import HaltingState
from formers.computation.stack import StackInput, StackOutput
from formers.computation.universal import Universal, UniversalModule
from formers.mixers.context import seen_after
from formers.ops import can_read, is_free_to_read, is_transformed, without_autocast
from formers.part import Site, State, Unsupported, add_loss
from formers.residuals import Block, Residual


class Act(Universal):
    """A Universal Transformer whose tokens decide how many steps they take, `depth` at most.

    After each step a token halts with probability p_n = σ(w·s_n + b), s_n being its state. It stops at the first step N
    with Σ p ≥ 1 − ε, or after `depth` steps. Its output is the mean of its states Σ_{n<N} p_n s_n + R s_N, with the
    remainder R = 1 − Σ_{n<N} p_n. A token that has stopped is copied: others see its last state at the steps that
    follow, with the signal of those steps. Training adds `ponder` · (N + R), averaged over the real tokens, to the
    loss; without it, tokens would take all steps.

    A pass ends when every token has stopped; on a GPU and in compiled graphs, which do not wait for that, training
    takes all steps. Generation waits: a row that has stopped costs its keys and values in the steps that others take,
    and nothing in those that none takes, until some later token takes one. Operations are counted for all `depth`
    steps, and beside them, for the steps that a trained model's tokens take on average: rows of studies have both, the
    latter from the test split. D + 1 parameters more than `universal`. Source: Graves 2016, arXiv:1603.08983, section
    2; Dehghani et al. 2018, arXiv:1807.03819, section 2.1.
    """

    starts = {"bias": ("halting.proj.bias",)}  # noqa: RUF012
    epsilon: float = 0.01
    "How much probability may be missing when a token stops: ε."
    ponder: float = 0.01
    "The weight of N + R in the loss; Graves found 0.001 to 0.01 to balance steps and errors."
    bias: float = 1.0
    "What b starts as: with 1, a token halts with p ≈ 0.73, so after two steps. Graves' value."

    def check(self) -> None:
        super().check()
        if not 0 < self.epsilon < 1:
            raise ValueError(f"{self}: epsilon must be between 0 and 1, with one step always enough from 1 on")
        if self.ponder < 0:
            raise ValueError(f"{self}: ponder must be 0 or more; less would pay for steps without end")

    def build(self, site: Site, depth: int, wiring: Residual) -> ComputationModule:
        self.check_stack(depth, wiring)
        if depth < 2:
            raise Unsupported(f"{self} has nothing to decide with depth={depth}; take depth=2 or more, or universal()")
        return ActModule(self, site, depth, wiring)


class HaltingUnit(nn.Module):
    """σ(w·s + b), (B, L, D) → (B, L), in float32 or wider."""

    def __init__(self, width: int, bias: float):
        super().__init__()
        self.proj, self.bias = nn.Linear(width, 1), bias
        nn.init.constant_(self.proj.bias, bias)

    def forward(self, state_bld: Tensor) -> Tensor:
        with without_autocast(state_bld.device):  # a probability decides whether a token goes on
            logit_bl: Tensor = self.proj(state_bld.to(self.proj.weight.dtype)).squeeze(-1)
        return logit_bl.to(torch.promote_types(logit_bl.dtype, torch.float32)).sigmoid()

    def init_weights(self, std: float) -> None:
        """Set the bias to the part's start."""
        nn.init.constant_(self.proj.bias, self.bias)


class ActModule(UniversalModule):
    """Keeps one state for all steps: they are not all run in every call."""

    def __init__(self, part: Act, site: Site, depth: int, wiring: Residual):
        super().__init__(part, site, depth, wiring)
        self.part, self.states = part, 1
        self.halting = HaltingUnit(site.width, part.bias)

    def forward(self, given: StackInput) -> StackOutput:
        past, layers = self._past(given), given.layers
        (x_bld, encoded_bld), real_bl = self.enter(given), given.real_bl
        progress = HaltingProgress.start(x_bld, real_bl)
        states: list[State | None] = []
        hidden: list[Tensor] = []
        for step in range(self.steps):
            active_bl = progress.active_bl
            if step >= self._fewest(layers) and self._waits_for_end(given) and not bool(active_bl.any()):
                break
            layer: Any = layers[step % len(layers)]
            state = None if past is None else self._caught_up(layer, step, past)
            y_bld, after = self._step(layer, self.signal(x_bld, encoded_bld, step), state, active_bl, given)
            y_bld = y_bld.to(x_bld.device)  # where tokens that have stopped wait for it
            hidden.append(x_bld)
            states.append(after)
            p_bl, is_last = self.halting(y_bld).to(x_bld.device), step == self.steps - 1
            progress = progress.after(y_bld, p_bl, threshold=1 - self.part.epsilon, is_last=is_last)
            x_bld = torch.where(active_bl.unsqueeze(-1), y_bld, x_bld)
        if self.training and self.part.ponder:
            add_loss("ponder", self.part.ponder * progress.cost(real_bl))
        hidden += [x_bld] * (self.steps - len(hidden))
        return StackOutput(
            progress.mean_bld.to(x_bld.dtype),
            [self._state(past, states, x_bld, given)] if given.keep_states else (),
            hidden if given.keep_hidden else (),
            progress.steps_bl,
        )

    def _step(
        self, layer: Block, x_bld: Tensor, state: State | None, active_bl: Tensor, given: StackInput
    ) -> tuple[Tensor, State | None]:
        """Return a layer's output, anything where a token is not active, and the state after all tokens."""
        if x_bld.shape[1] == 1 and given.keep_states and not torch.is_grad_enabled() and self._waits_for_end(given):
            rows = active_bl[:, 0].nonzero().squeeze(1)
            if len(rows) < len(x_bld):
                y_rld, after = layer.some_rows(
                    x_bld, state, rows, mask_bl=given.tensor_mask, positions_bl=given.positions_bl
                )
                return x_bld.index_copy(0, rows, y_rld.to(x_bld)), after
        return self.run(layer, x_bld, state, given)

    def _fewest(self, layers: nn.ModuleList) -> int:
        """Return the steps that are always run: in training each layer once, so that it has gradients on all ranks."""
        return len(layers) if self.training else 0

    def _waits_for_end(self, given: StackInput) -> bool:
        """Return whether to look if all tokens have stopped: where that is free, and in generation, where it pays."""
        if not can_read(given.x_bld) or is_transformed():
            return False
        return is_free_to_read(given.x_bld) or (given.keep_states and not torch.is_grad_enabled())

    def _past(self, given: StackInput) -> HaltingState | None:
        """Return the state to go on from. Raise TypeError for another computation's."""
        (past,) = given.past
        if past is None:
            return None
        if not isinstance(past, HaltingState) or len(past.steps) != self.steps:
            raise TypeError(
                f"{self.part} goes on from a HaltingState of {self.steps} steps, but a {type(past).__name__} was "
                "given; pass the state that this model returned, or None at the start"
            )
        return past.outside_inference_mode()

    def _caught_up(self, layer: Block, step: int, past: HaltingState) -> State | None:
        """Return the state of a step after the tokens that waited for it."""
        behind = past.behind[step]
        if not behind or past.waiting_bwd is None or past.positions_bw is None:
            return past.steps[step]
        x_bwd, positions_bw = past.waiting_bwd[:, -behind:], past.positions_bw[:, -behind:]
        _, state = layer.some_rows(
            self.signal(x_bwd, self.signal.encode(positions_bw, x_bwd), step),
            past.steps[step],
            torch.arange(0, device=x_bwd.device),
            mask_bl=None if past.mask_bw is None else past.mask_bw[:, -behind:],
            positions_bl=positions_bw,
        )
        return state

    def _state(
        self, past: HaltingState | None, states: list[State | None], x_bld: Tensor, given: StackInput
    ) -> HaltingState:
        """Return the state after a call that ran the first steps, to these states, and left tokens as `x_bld`."""
        seen_b = seen_after(x_bld, given.tensor_mask, past)
        old = HaltingState(seen_b, (None,) * self.steps, behind=(0,) * self.steps) if past is None else past
        ran, length = len(states), x_bld.shape[1]
        new = HaltingState(
            seen_b,
            (*states, *old.steps[ran:]),
            old.waiting_bwd,
            old.mask_bw,
            old.positions_bw,
            (*[0] * ran, *[behind + length for behind in old.behind[ran:]]),
            old.storage,
        )
        return new.nobody_waits() if ran == self.steps else new.wait(x_bld, given.tensor_mask, given.positions_bl)
