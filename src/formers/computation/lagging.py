"""States of layers that tokens have skipped, computed once some later token needs them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import torch
from torch import Tensor

from formers.mixers.context import seen_after
from formers.part import State
from formers.residuals import Block

MOST_WAITING = 64
"""So many tokens wait at most."""


class WaitingTokens(NamedTuple):
    """Tokens that skipped a layer in one pass: what would have entered it, shared by all the layers they skipped."""

    x_bpd: Tensor
    positions_bp: Tensor
    mask_bp: Tensor


@dataclass(frozen=True)
class LaggingState(State):
    """The state of a layer, and the tokens after it that left the stack below the layer.

    Their part of the state, such as keys and values, depends on what they left with alone. It is computed for all of
    them at once when a token enters the layer (`settled`), or when many wait.
    """

    behind: State | None = None
    "The layer's state before the tokens that wait; None where there were none."
    waiting: tuple[WaitingTokens, ...] = ()

    @property
    def count(self) -> int:
        """The number of tokens of a row that wait."""
        return sum(one.x_bpd.shape[1] for one in self.waiting)

    @property
    def can_trim(self) -> bool:
        return self.behind is None or self.behind.can_trim

    def trim(self, count_b: Tensor) -> Self:
        """Forget the last `count_b` real tokens of each row: those that wait are masked, then the state forgets."""
        all_waiting = _joined(self.waiting)
        from_end_bp = all_waiting.mask_bp.long().flip(-1).cumsum(-1).flip(-1)
        kept_bp = all_waiting.mask_bp & (from_end_bp > count_b.unsqueeze(-1))
        more_b = (count_b - all_waiting.mask_bp.sum(-1)).clamp(min=0)
        return replace(
            self,
            seen_b=self.seen_b - count_b.clamp(max=self.seen_b),
            behind=None if self.behind is None else self.behind.trim(more_b),
            waiting=(all_waiting._replace(mask_bp=kept_bp),),
        )

    def reset(self, rows_b: Tensor) -> Self:
        return replace(
            self,
            seen_b=self.seen_b.masked_fill(rows_b, 0),
            behind=None if self.behind is None else self.behind.reset(rows_b),
            waiting=tuple(one._replace(mask_bp=one.mask_bp & ~rows_b.unsqueeze(1)) for one in self.waiting),
        )


def waiting(x_bld: Tensor, positions_bl: Tensor, mask_bl: Tensor | None) -> WaitingTokens:
    """Return tokens that leave a stack with these hidden states, for all the layers that they skip."""
    batch, length, _ = x_bld.shape
    real_bl = x_bld.new_ones(batch, length, dtype=torch.bool) if mask_bl is None else mask_bl
    return WaitingTokens(x_bld, positions_bl.expand(batch, length), real_bl)


def skipped(layer: Block, state: State | None, tokens: WaitingTokens) -> State:
    """Return the state of a layer after tokens that skip it."""
    seen_b = seen_after(tokens.x_bpd, tokens.mask_bp, state)
    if isinstance(state, LaggingState):
        lagging = LaggingState(seen_b, state.behind, (*state.waiting, tokens))
    else:
        lagging = LaggingState(seen_b, state, (tokens,))
    return lagging if lagging.count < MOST_WAITING else _caught_up(layer, lagging)


def settled(layer: Block, state: State | None) -> State | None:
    """Return the state of a layer with no tokens waiting."""
    return _caught_up(layer, state) if isinstance(state, LaggingState) else state


def _caught_up(layer: Block, state: LaggingState) -> State:
    """Return the layer's state after the tokens that wait."""
    state = state.outside_inference_mode()
    tokens = _joined(state.waiting)
    nobody = torch.zeros(0, dtype=torch.long, device=tokens.x_bpd.device)
    mask_bp = None if bool(tokens.mask_bp.all()) else tokens.mask_bp
    return layer.some_rows(tokens.x_bpd, state.behind, nobody, mask_bl=mask_bp, positions_bl=tokens.positions_bp)[1]


def _joined(waiting_tokens: tuple[WaitingTokens, ...]) -> WaitingTokens:
    """Return tokens of several passes as those of one."""
    if len(waiting_tokens) == 1:
        return waiting_tokens[0]
    return WaitingTokens(
        torch.cat([one.x_bpd for one in waiting_tokens], 1),
        torch.cat([one.positions_bp for one in waiting_tokens], 1),
        torch.cat([one.mask_bp for one in waiting_tokens], 1),
    )
