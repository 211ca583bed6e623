"""The rules by which tokens leave a stack of layers, an axis within early exits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from formers.computation.depth_oracles import ExitScores
from formers.mixers.documents import Documents
from formers.part import Part, Site, State

Scores = Callable[[int, Tensor], Tensor]
"""A head at exits: (exit n, hidden states (…, D) behind its layer) → scores of all tokens of the vocabulary."""


@dataclass(frozen=True)
class ExitPoint:
    """Tokens behind a layer, and everything that a rule may ask for beside.

    Attributes:
        number: n, how many layers they have been through, from 1.
        x_bld: their hidden states, (B, L, D).
        before_bld: those that entered the layer.
        positions_bl: position of each token, (B or 1, L).
        scores: the head at exits; None where the model has none.
    """

    number: int
    x_bld: Tensor
    before_bld: Tensor
    positions_bl: Tensor
    scores: Scores | None

    def rows(self, rows: Tensor) -> ExitPoint:
        """Return the same point for some rows of the batch."""
        positions_bl = self.positions_bl if len(self.positions_bl) == 1 else self.positions_bl.index_select(0, rows)
        x_rld, before_rld = (t.index_select(0, rows) for t in (self.x_bld, self.before_bld))
        return ExitPoint(self.number, x_rld, before_rld, positions_bl, self.scores)


class ExitRule(Part):
    """When a token leaves the stack before its last layer."""

    learns: ClassVar[bool] = False
    "Whether the rule has weights, which aligned training trains."

    def build(self, site: Site, exits: int) -> ExitRuleModule:
        """Return the module for a stack of so many layers."""
        raise NotImplementedError


class ExitRuleModule(nn.Module):
    """Decides, in evaluation and generation, behind which layer each token leaves.

    A rule says so from a token's hidden state behind each layer (`halts`), or once behind the first (`plan`).

    Attributes:
        halting: whether any token ever leaves early.
        states: how many states the rule keeps beside those of the layers.
    """

    halting = True
    states = 0

    def halts(self, point: ExitPoint) -> Tensor:
        """Return which tokens leave at this point, (B, L)."""
        raise NotImplementedError

    def plan(
        self, x_bld: Tensor, mask_bl: Documents | Tensor | None, state: State | None
    ) -> tuple[Tensor | None, State | None]:
        """Return the depth of each token, (B, L), given its hidden state behind the first layer, and the rule's state.

        None: the rule decides behind each layer.
        """
        return None, None

    def reads(self, x_bld: Tensor, mask_bl: Documents | Tensor | None) -> Tensor:
        """Return what `loss` takes for the first layer, given its hidden states of whole rows: these, (B, L, D).

        A rule that reads other tokens beside each one overrides this. Raise Unsupported for masks that it cannot take.
        """
        return x_bld

    def loss(self, hidden: Sequence[Tensor], scores: ExitScores) -> Tensor | None:
        """Return what the rule learns in training, a weighted mean over the tokens that count; None: nothing.

        Args:
            hidden: hidden states behind each of the N layers, (B, L, D), of some tokens; of the first, what it `reads`.
            scores: of the N exits.
        """
        return None


class Last(ExitRule):
    """No token leaves before the last layer: the whole model, also for training exits that are used later."""

    def build(self, site: Site, exits: int) -> ExitRuleModule:
        return LastModule()


class LastModule(ExitRuleModule):
    halting = False
