"""The same layers for every token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from formers.computation.computation import Computation, ComputationModule
from formers.computation.stack import StackInput, StackOutput
from formers.part import Site, State
from formers.residuals import Residual


class FixedDepth(Computation):
    """Every token goes once through each of `depth` layers, which have weights and states of their own.

    Source: Vaswani et al. 2017, arXiv:1706.03762.
    """

    @classmethod
    def name(cls) -> str:
        return "fixed"

    def layers(self, depth: int) -> int:
        return depth

    def build(self, site: Site, depth: int, wiring: Residual) -> ComputationModule:
        return FixedModule(depth, wiring)


class FixedModule(ComputationModule):
    def forward(self, given: StackInput) -> StackOutput:
        x = self.wiring.enter(given.x_bld)
        if not given.keep_states and not given.keep_hidden and given.recompute is None:
            x = self.wiring.through(given.layers, x, given.mask_bl, given.positions_bl)
            return StackOutput(self.wiring.leave(x))
        states: list[State | None] = []
        hidden: list[Tensor] = []
        for layer, state in zip(given.layers, given.past, strict=True):
            if given.keep_hidden:
                hidden.append(self.wiring.leave(x))
            x, after = self.run(layer, x, state, given)
            states.append(after)
        return StackOutput(self.wiring.leave(x), states, hidden)

    def static_states(self, layers: nn.ModuleList, states: Sequence[State], length: int) -> list[State]:
        blocks: list[Any] = list(layers)  # or what wraps them, with all their methods
        return [block.static_state(state, length) for block, state in zip(blocks, states, strict=True)]
