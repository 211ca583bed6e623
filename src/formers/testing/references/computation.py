"""References of computations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor

from formers.computation import FixedDepth
from formers.part import Site
from formers.testing.references.algebra import Weights
from formers.testing.references.registry import reference


class Stack(NamedTuple):
    """What a computation runs: layers as functions of hidden states, the depth, and weights of the computation's own.

    `positions_bl` is the position of each token, (B or 1, L).
    """

    layers: Sequence[Callable[[Tensor], Tensor]]
    depth: int
    positions_bl: Tensor
    weights: Weights


@reference(FixedDepth)
def fixed(part: FixedDepth, site: Site, stack: Stack, x_bld: Tensor) -> Tensor:
    """One layer after the other."""
    for layer in stack.layers:
        x_bld = layer(x_bld)
    return x_bld
