"""One pass through layers that tokens leave behind the layer a rule picks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from formers.computation.exit_rules import ExitPoint, ExitRuleModule
from formers.computation.lagging import WaitingTokens, settled, skipped, waiting
from formers.computation.stack import StackInput, StackOutput
from formers.computation.step_record import record
from formers.mixers.documents import Documents, GlobalMask
from formers.ops import can_read
from formers.part import State
from formers.residuals import Block, Residual


class ExitPass:
    """Tokens on their way up; those that left keep their hidden state.

    All of it stays on the device of the input, wherever layers and the rule are.

    Where values can be read, layers run for the rows that have a token on its way; otherwise, as under
    `torch.compile`, for all rows.

    Attributes:
        x_bld: hidden states, (B, L, D).
        going_bl: which tokens are still on their way; padding never is.
        steps_bl: how many layers each token has been through.
        plan_bl: the depth of each token, where the rule has said it in advance.
        alone: whether there is one token only, as in generation; whether it is on its way is then a number in Python,
            `alone_going`, as operations on tensors of one element would cost as much as a small layer.
    """

    def __init__(self, rule: ExitRuleModule, wiring: Residual, given: StackInput):
        self.rule, self.wiring, self.given = rule, wiring, given
        self.x_bld = wiring.enter(given.x_bld)
        self.mask_bl = given.real_bl
        shape = self.x_bld.shape[:2]
        self.going_bl = self.x_bld.new_ones(shape, dtype=torch.bool) if self.mask_bl is None else self.mask_bl
        self.steps_bl = torch.zeros(shape, dtype=torch.long, device=self.x_bld.device)
        self.plan_bl: Tensor | None = None
        self.left: WaitingTokens | None = None
        self.alone = self.mask_bl is None and can_read(self.x_bld) and shape == (1, 1)
        self.alone_going, self.alone_steps = True, 0
        self.nobody = torch.zeros(0, dtype=torch.long, device=self.x_bld.device)

    def run(self) -> StackOutput:
        """Return the hidden states that tokens leave with, the states of all layers, and the steps of each token."""
        layers: Sequence[Block] = self.given.blocks
        states: list[Any] = []
        hidden: list[Tensor] = []
        of_rule = self.given.past[len(layers)] if self.rule.states and len(self.given.past) > len(layers) else None
        for n, layer in enumerate(layers, 1):
            if self.given.keep_hidden:
                hidden.append(self.wiring.leave(self.x_bld))
            before_bld = self.x_bld
            rows = self._rows()
            states.append(self._through(layer, self.given.past[n - 1], rows))
            if n == 1:
                mask = self.given.mask_bl if isinstance(self.given.mask_bl, Documents) else self.mask_bl
                plan_bl, of_rule = self.rule.plan(self.x_bld, mask, of_rule)
                self.plan_bl = None if plan_bl is None else plan_bl.to(self.x_bld.device)
            if n < len(layers) and (rows is None or len(rows)):
                self._leave(n, before_bld, rows)
        if self.alone:
            self.steps_bl = self.steps_bl + self.alone_steps
        record(self.steps_bl, self.mask_bl)
        states += [of_rule] * self.rule.states
        return StackOutput(self.wiring.leave(self.x_bld), states, hidden, self.steps_bl)

    def _rows(self) -> Tensor | None:
        """Return the rows with a token on its way, (R,); None for all, also where that cannot be read."""
        if self.alone:
            return None if self.alone_going else self.nobody
        if not can_read(self.going_bl):
            return None
        going_b = self.going_bl.any(1) if self.going_bl.shape[1] > 1 else self.going_bl[:, 0]
        if bool(going_b.all()):
            return None
        return going_b.nonzero().squeeze(1)

    def _through(self, layer: Block, state: State | None, rows: Tensor | None) -> State | None:
        """Move the tokens on their way through a layer; return its state after all tokens."""
        if rows is not None and not len(rows):
            return self._skip(layer, state)
        state = settled(layer, state)
        given = self.given
        if rows is None or isinstance(given.mask_bl, Documents | GlobalMask):
            options = {"mask_bl": given.mask_bl, "positions_bl": given.positions_bl, "keep_state": given.keep_states}
            after, state = layer(self.x_bld, state, **options)
            after = after.to(self.x_bld.device)
        elif given.keep_states:
            some, state = layer.some_rows(
                self.x_bld, state, rows, mask_bl=given.tensor_mask, positions_bl=given.positions_bl
            )
            after = self.x_bld.index_copy(0, rows, some.to(self.x_bld.device))
        else:
            after = self.x_bld.index_copy(0, rows, self._rows_alone(layer, rows).to(self.x_bld.device))
        whole = self.alone or (rows is None and self.going_bl.shape[1] == 1 and can_read(self.going_bl))
        self.x_bld = after if whole else torch.where(self.going_bl.unsqueeze(-1), after, self.x_bld)
        if self.alone:
            self.alone_steps += 1
        else:
            self.steps_bl = self.steps_bl + self.going_bl
        return state

    def _skip(self, layer: Block, state: State | None) -> State | None:
        """Return the state of a layer that every token skips; None where states are not asked for."""
        if not self.given.keep_states:
            return None
        if self.left is None:
            self.left = waiting(self.x_bld, self.given.positions_bl, self.given.tensor_mask)
        return skipped(layer, state, self.left)

    def _rows_alone(self, layer: Block, rows: Tensor) -> Tensor:
        """Return a layer's output for some rows, where there are no states to go on from or to keep."""
        mask, positions_bl = self.given.tensor_mask, self.given.positions_bl
        some: Tensor = layer(
            self.x_bld.index_select(0, rows),
            mask_bl=None if mask is None else mask.index_select(0, rows),
            positions_bl=positions_bl if len(positions_bl) == 1 else positions_bl.index_select(0, rows),
            keep_state=False,
        )[0]
        return some

    def _leave(self, n: int, before_bld: Tensor, rows: Tensor | None) -> None:
        """Let the tokens leave that the rule halts behind layer n."""
        if self.plan_bl is not None:
            if self.alone:
                self.alone_going = int(self.plan_bl) > n
            else:
                self.going_bl = self.going_bl & (self.plan_bl > n)
            return
        point = ExitPoint(n, self.x_bld, before_bld, self.given.positions_bl, self.given.scores)
        if self.alone:
            self.alone_going = not bool(self.rule.halts(point))
        elif rows is None:
            self.going_bl = self.going_bl & ~self.rule.halts(point).to(self.going_bl.device)
        else:
            halts_rl = self.rule.halts(point.rows(rows)).to(self.going_bl.device)
            self.going_bl = self.going_bl.index_copy(0, rows, self.going_bl.index_select(0, rows) & ~halts_rl)
