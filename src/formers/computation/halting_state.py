"""The state of a stack whose tokens take different numbers of steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor

from formers.computation.state import StackState
from formers.mixers.kv_cache import CacheStorage, grow
from formers.part import State


@dataclass(frozen=True)
class HaltingState(StackState):
    """The states of all steps, and the tokens that some steps have not seen.

    A step that no token of a call takes is not run: the tokens wait for it with the hidden states that they halted
    with. Before the next run of the step they give it their keys and values, or what its mixer keeps, all at once.
    Steps run in order, so each has at most as many waiting tokens as the next one, and these are the last of them.
    """

    waiting_bwd: Tensor | None = None
    "Hidden states of the tokens that wait for the last step, (B, W, D); None = no token waits."
    mask_bw: Tensor | None = None
    "True = a real token, of those that wait, (B, W); None = all."
    positions_bw: Tensor | None = None
    "Their positions, (B, W)."
    behind: tuple[int, ...] = ()
    "Of each step, how many of the last waiting tokens wait for it."
    storage: CacheStorage | None = field(default=None, repr=False, compare=False)
    "Of the hidden states, with space to spare behind them."

    @property
    def is_unique(self) -> bool:
        return self.waiting_bwd is None and super().is_unique

    def changed(self, of_tensor: Callable[[Tensor], Tensor], of_state: Callable[[State], State]) -> Self:
        return replace(super().changed(of_tensor, of_state), storage=None)

    def wait(self, x_bld: Tensor, mask_bl: Tensor | None, positions_bl: Tensor) -> Self:
        """Return the state with more tokens that wait, behind those that do; of `behind`, the caller takes care."""
        batch, length, _ = x_bld.shape
        positions_bl = positions_bl.expand(batch, length)
        if self.waiting_bwd is None or self.positions_bw is None:
            return replace(self, waiting_bwd=x_bld, mask_bw=mask_bl, positions_bw=positions_bl, storage=None)
        both_b1wd, storage = grow(self.waiting_bwd.unsqueeze(1), self.storage, x_bld.unsqueeze(1))
        mask_bw = None
        if self.mask_bw is not None or mask_bl is not None:
            new = torch.ones_like(positions_bl, dtype=torch.bool) if mask_bl is None else mask_bl
            mask_bw = torch.cat([self._real(self.positions_bw), new], 1)
        positions_bw = torch.cat([self.positions_bw, positions_bl], 1)
        return replace(
            self, waiting_bwd=both_b1wd.squeeze(1), mask_bw=mask_bw, positions_bw=positions_bw, storage=storage
        )

    def nobody_waits(self) -> Self:
        """Return the state without tokens that wait."""
        none = (0,) * len(self.steps)
        return replace(self, waiting_bwd=None, mask_bw=None, positions_bw=None, behind=none, storage=None)

    def reset(self, rows_b: Tensor) -> Self:
        new = super().reset(rows_b)
        return (
            new if self.positions_bw is None else replace(new, mask_bw=self._real(self.positions_bw) & ~rows_b[:, None])
        )

    def trim(self, count_b: Tensor) -> Self:
        """Forget the last `count_b` real tokens of each row: those that wait are masked, the steps forget the rest."""
        if self.waiting_bwd is None or self.positions_bw is None:
            return super().trim(count_b)
        real_bw = self._real(self.positions_bw)
        from_end_bw = real_bw.long().flip(-1).cumsum(-1).flip(-1)
        gone_bw = real_bw & (from_end_bw <= count_b.unsqueeze(-1))
        kept = replace(
            self,
            seen_b=self.seen_b - count_b.clamp(max=self.seen_b),
            mask_bw=real_bw & ~gone_bw,
            steps=tuple(
                state and state.trim(count_b - gone_bw[:, gone_bw.shape[1] - behind :].sum(-1))
                for state, behind in zip(self.steps, self.behind, strict=True)
            ),
            storage=None,
        )
        return kept._without_end()

    def _real(self, positions_bw: Tensor) -> Tensor:
        """Return the mask of the tokens that wait, (B, W)."""
        return torch.ones_like(positions_bw, dtype=torch.bool) if self.mask_bw is None else self.mask_bw

    def _without_end(self) -> Self:
        """Return the state without the last columns of waiting tokens that are real in no row."""
        assert self.waiting_bwd is not None
        assert self.positions_bw is not None
        assert self.mask_bw is not None
        length = self.mask_bw.shape[1]
        place_w = torch.arange(1, length + 1, device=self.mask_bw.device)
        keep = int((self.mask_bw.any(0).long() * place_w).max())
        if not keep:
            return self.nobody_waits()
        mask_bw = self.mask_bw[:, :keep]
        return replace(
            self,
            waiting_bwd=self.waiting_bwd[:, :keep],
            mask_bw=None if bool(mask_bw.all()) else mask_bw,
            positions_bw=self.positions_bw[:, :keep],
            behind=tuple(max(behind - (length - keep), 0) for behind in self.behind),
        )
