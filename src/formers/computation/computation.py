"""The computation axis: how many steps a token gets."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

from torch import Tensor, nn

from formers.computation.stack import StackInput, StackOutput
from formers.part import Part, Site, State, Unsupported
from formers.residuals import Residual


class Computation(Part):
    """How many steps of computation a token gets: which layers are made, how often each runs, and on which states.

    A model makes the layers and calls the module that `build` returns with a `StackInput`, which holds them.
    """

    runs_layers_once: ClassVar[bool] = True
    "Whether a pass runs each layer once, so that it may be sharded or watched as a module of its own."

    def layers(self, depth: int) -> int:
        """Return how many layers are made for a model of this depth."""
        raise NotImplementedError

    def build(self, site: Site, depth: int, wiring: Residual) -> ComputationModule:
        """Return the module that runs the layers. Raise `Unsupported` where it cannot, as with some wirings.

        Args:
            site: of the first layer; `site.layers` is the number of layers that are made.
            depth: the model's depth.
            wiring: of the layers.
        """
        raise NotImplementedError


class ComputationModule(nn.Module):
    """Runs layers: `out = computation(given)`. It holds weights of its own, not those of the layers.

    Attributes:
        states: how many states a streaming model keeps.
        wiring: of the layers; its `enter` and `leave` stand at both ends of the stack.
    """

    def __init__(self, states: int, wiring: Residual):
        super().__init__()
        self.states, self.wiring = states, wiring

    def forward(self, given: StackInput) -> StackOutput:
        """Return what the layers make of the tokens."""
        raise NotImplementedError

    def static_states(self, layers: nn.ModuleList, states: Sequence[State], length: int) -> list[State]:
        """Return the states as ones of a fixed size, for `length` tokens in all: see `MixerModule.static_state`.

        Raise Unsupported where the stack, or a mixer in it, has none such.
        """
        raise Unsupported(
            f"the states of {type(self).__name__} grow with the steps that tokens take; use computation=fixed(), or a "
            "cache that grows"
        )

    def run(self, layer: nn.Module, x: Tensor, state: State | None, given: StackInput) -> tuple[Tensor, State | None]:
        """Return a layer's output, and the state after it if states are asked for; it runs again in the backward pass
        where that is."""
        options = {"mask_bl": given.mask_bl, "positions_bl": given.positions_bl, "keep_state": given.keep_states}
        call = partial(layer.__call__, **options)
        out: Any = call(x, state) if given.recompute is None else given.recompute(call, x, state)
        return out[0], out[1]
