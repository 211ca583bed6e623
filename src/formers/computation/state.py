"""The states of all steps of a stack as one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

from torch import Tensor

from formers.part import State


@dataclass(frozen=True)
class StackState(State):
    """The states that the steps of a stack go on from."""

    steps: tuple[State | None, ...] = ()
    "Of each step; None where nothing has been seen."

    def reset(self, rows_b: Tensor) -> Self:
        return replace(self._with_each(lambda s: s.reset(rows_b)), seen_b=self.seen_b.masked_fill(rows_b, 0))

    @property
    def is_unique(self) -> bool:
        return all(state.is_unique for state in self.steps if state is not None)

    @property
    def can_trim(self) -> bool:
        return all(state.can_trim for state in self.steps if state is not None)

    def trim(self, count_b: Tensor) -> Self:
        return replace(self._with_each(lambda s: s.trim(count_b)), seen_b=self.seen_b - count_b.clamp(max=self.seen_b))

    def _with_each(self, change: Callable[[State], State]) -> Self:
        """Return the same state with a change of each step's."""
        return self.changed(lambda t: t, change)
