"""Early exits: tokens may leave the stack behind any layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from formers.computation.computation import Computation, ComputationModule
from formers.computation.exit_pass import ExitPass
from formers.computation.exit_rules import ExitRule, Last
from formers.computation.fixed import FixedModule
from formers.computation.lagging import settled
from formers.computation.stack import StackInput, StackOutput
from formers.part import Site, State, Unsupported
from formers.residuals import Residual


class EarlyExit(Computation):
    """Layers with a head behind each; in evaluation and generation, a token leaves behind the layer that a rule picks.

    A token that leaves keeps its hidden state for all layers above, which tokens after it attend to: keys and values of
    the layers that it skips are made from it. One pass, chunks and single steps thus agree, and a skipped layer costs
    its keys and values alone, made for many tokens at once when some later token enters the layer.

    Training runs every layer. `aligned`: the loss is Σ_n ω_n·L_n / Σ_n ω_n over the heads' mean losses L_n, where all
    tokens have been through the same layers. `mixed`: each token gets an exit drawn evenly, its hidden state is copied
    to the layers above, and the loss is that of the exits drawn. A `CausalLM` has the heads; rules that learn
    (`classifier`, `multinomial_depth`, …) do so with aligned training. Takes mixers that stream, and not `reversible`.
    Source: Elbayad et al. 2019 (depth-adaptive), arXiv:1910.10073; Schuster et al. 2022 (CALM), arXiv:2207.07061.
    """

    runs_layers_once = False  # some for no row, some for a few, which calls what is in them
    rule: ExitRule = Last()
    "When a token leaves; `last`: never early."
    heads: Literal["shared", "own"] = "shared"
    "Whether exits share the model's output projection, or each has one of its own; all share the norm at the end."
    training: Literal["aligned", "mixed"] = "aligned"
    "Which exits are trained at once: all of every token, or one of each, drawn."
    weights: Literal["linear", "uniform"] | tuple[float, ...] = "linear"
    "ω_n of aligned training: `linear` is n, `uniform` is 1; or one number for each layer."

    def check(self) -> None:
        if isinstance(self.weights, tuple) and (min(self.weights, default=0.0) < 0 or not sum(self.weights)):
            raise ValueError(
                f"early_exit: weights must be 0 or more, and not all 0, but {list(self.weights)} was given"
            )
        if self.training == "mixed" and self.rule.learns:
            raise ValueError(
                f"early_exit: {self.rule} learns from all exits of a token, which training=mixed does not have; train "
                "with training=aligned"
            )
        if self.training == "mixed" and self.weights != "linear":
            raise ValueError("early_exit: weights are for training=aligned; leave them out with training=mixed")

    def layers(self, depth: int) -> int:
        return depth

    def build(self, site: Site, depth: int, wiring: Residual) -> ComputationModule:
        if not wiring.calls_layers:
            raise Unsupported(
                f"{self} cannot have the wiring {wiring}: its layers run as one, keeping no hidden state between them. "
                "Use pre_norm(), post_norm() or gated() instead"
            )
        self.exit_weights(depth)
        return EarlyExitModule(self, site, depth, wiring)

    def exit_weights(self, depth: int) -> list[float]:
        """Return ω_n / Σ ω of each layer. Raise ValueError where weights were given for another depth."""
        if isinstance(self.weights, tuple):
            if len(self.weights) != depth:
                raise ValueError(
                    f"{self} has {len(self.weights)} weights, but the model has {depth} layers; give each one"
                )
            weights = list(self.weights)
        else:
            weights = [float(n) if self.weights == "linear" else 1.0 for n in range(1, depth + 1)]
        return [weight / sum(weights) for weight in weights]


class EarlyExitModule(FixedModule):
    """Runs every layer, or in evaluation with a rule that halts, those that some token has not left."""

    def __init__(self, part: EarlyExit, site: Site, depth: int, wiring: Residual):
        rule = part.rule.build(site, depth)
        super().__init__(depth + rule.states, wiring)
        self.part, self.rule, self.depth = part, rule, depth

    @contextmanager
    def other_rule(self, rule: Any) -> Iterator[None]:
        """Follow another built rule for a while, with the states that it keeps."""
        before = self.rule, self.states
        self.rule, self.states = rule, self.depth + rule.states
        try:
            yield
        finally:
            self.rule, self.states = before

    def forward(self, given: StackInput) -> StackOutput:
        if not self.training and self.rule.halting:
            return ExitPass(self.rule, self.wiring, given).run()
        if self.rule.states and given.keep_states:
            raise Unsupported(
                f"{self.part.rule} keeps a state of its own, which training does not; train without a cache"
            )
        if self.training and self.part.training == "mixed":
            return self._drawn(given)
        past = [settled(layer, state) for layer, state in zip(given.blocks, given.past, strict=False)]
        return super().forward(given.with_past(past))

    def static_states(self, layers: nn.ModuleList, states: Sequence[State], length: int) -> list[State]:
        return ComputationModule.static_states(self, layers, states, length)

    def _drawn(self, given: StackInput) -> StackOutput:
        """Run every layer; each token keeps what it has behind a layer drawn evenly."""
        x = self.wiring.enter(given.x_bld)
        steps_bl = torch.randint(1, self.depth + 1, x.shape[:2], device=x.device)
        states, hidden = [], list[Tensor]()
        for n, (layer, state) in enumerate(zip(given.blocks, given.past, strict=False)):
            if given.keep_hidden:
                hidden.append(x)
            after, state = self.run(layer, x, settled(layer, state), given)
            x = torch.where((steps_bl > n).unsqueeze(-1), after.to(x.device), x)
            states.append(state)
        return StackOutput(self.wiring.leave(x), states, hidden, steps_bl)
