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

    def map(self, change: Callable[[Tensor], Tensor]) -> Self:
        return self._with_each(super().map(change), lambda state: state.map(change))

    @property
    def nbytes(self) -> int:
        return super().nbytes + sum(state.nbytes for state in self.steps if state is not None)

    def reorder(self, rows: Tensor) -> Self:
        return self._with_each(super().map(lambda t: t.index_select(0, rows.to(t.device))), lambda s: s.reorder(rows))

    def outside_inference_mode(self) -> Self:
        return self._with_each(super().outside_inference_mode(), lambda state: state.outside_inference_mode())

    def reset(self, rows_b: Tensor) -> Self:
        return self._with_each(replace(self, seen_b=self.seen_b.masked_fill(rows_b, 0)), lambda s: s.reset(rows_b))

    @property
    def is_unique(self) -> bool:
        return all(state.is_unique for state in self.steps if state is not None)

    @property
    def can_trim(self) -> bool:
        return all(state.can_trim for state in self.steps if state is not None)

    def trim(self, count_b: Tensor) -> Self:
        kept = replace(self, seen_b=self.seen_b - count_b.clamp(max=self.seen_b))
        return self._with_each(kept, lambda state: state.trim(count_b))

    def _with_each(self, new: Self, change: Callable[[State], State]) -> Self:
        """Return `new` with a change of each step's state here."""
        return replace(new, steps=tuple(None if state is None else change(state) for state in self.steps))
