"""The Universal Transformer: one layer, run again and again."""

from __future__ import annotations

import math
from typing import ClassVar

from torch import Tensor

from formers.computation.computation import Computation, ComputationModule
from formers.computation.stack import StackInput, StackOutput
from formers.computation.step_signal import Encoding, StepSignal
from formers.part import Site, State, Unsupported
from formers.residuals import Residual


class Universal(Computation):
    """One layer runs `depth` times; before each step t, an encoding of positions and of t is added to the stream.

    h_t = layer(h_{t−1} + P_t), P_t(i, 2m) = sin(i / base^{2m/D}) + sin(t / base^{2m/D}) and cosines beside them, where
    the position i counts from 0, the step t from 1, and base = 10,000. A model has the parameters of one layer, and the
    operations and states of `depth`. As published the wiring is `residual=post_norm()`, the transition `ffn=mlp()` or
    `ffn=separable_conv()`, and nothing else encodes positions: `position=none()`; the embedding is multiplied by √D, as
    wherever sinusoids are added. Takes any wiring but `reversible`, which cannot undo what is added between layers.
    Source: Dehghani et al. 2018 (Universal Transformers), arXiv:1807.03819, section 2.
    """

    runs_layers_once: ClassVar[bool] = False

    blocks: int = 1
    "Layers that are made; step t runs the next one of them in turn. As published, 1."
    position: Encoding = "sinusoidal"
    "P's part for positions: sinusoids, a table of `context_length` vectors that are trained, or none."
    time: Encoding = "sinusoidal"
    "P's part for steps: sinusoids, a table of `depth` vectors that are trained, or none."
    scale: float | None = None
    "Factor on the embedding; √D where P has sinusoids, beside which it would begin far smaller, else 1, unless given."

    def check(self) -> None:
        if self.blocks < 1:
            raise ValueError(f"{self}: blocks must be at least 1")

    def layers(self, depth: int) -> int:
        return min(self.blocks, depth)

    def build(self, site: Site, depth: int, wiring: Residual) -> ComputationModule:
        self.check_stack(depth, wiring)
        return UniversalModule(self, site, depth, wiring)

    def check_stack(self, depth: int, wiring: Residual) -> None:
        """Raise ValueError for more blocks than steps, and `Unsupported` for wirings with more than one stream."""
        if self.blocks > depth:
            raise ValueError(f"{self}: blocks is {self.blocks}, but the model takes depth={depth} steps")
        if type(wiring).enter is not Residual.enter:
            raise Unsupported(
                f"{self} adds a signal to the stream between its steps, which {wiring} could not undo; use another "
                "residual, such as pre_norm() or post_norm(), or computation=fixed()"
            )


class UniversalModule(ComputationModule):
    def __init__(self, part: Universal, site: Site, depth: int, wiring: Residual):
        super().__init__(depth, wiring)
        self.steps = depth
        self.signal = StepSignal(site, depth, part.position, part.time)
        published = math.sqrt(site.width) if "sinusoidal" in (part.position, part.time) else 1.0
        self.scale = published if part.scale is None else part.scale

    def enter(self, given: StackInput) -> tuple[Tensor, Tensor | None]:
        """Return the hidden states before the first step, and the encoding of their positions."""
        x_bld = given.x_bld if self.scale == 1 else given.x_bld * self.scale
        return x_bld, self.signal.encode(given.positions_bl, x_bld)

    def forward(self, given: StackInput) -> StackOutput:
        (x_bld, encoded_bld), layers = self.enter(given), given.layers
        states: list[State | None] = []
        hidden: list[Tensor] = []
        for step, state in enumerate(given.past):
            hidden.append(x_bld)
            x_bld, after = self.run(layers[step % len(layers)], self.signal(x_bld, encoded_bld, step), state, given)
            states.append(after)
        return StackOutput(x_bld, states if given.keep_states else (), hidden if given.keep_hidden else ())
