"""Streaming states: what a module remembers between calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor

from formers.part.unsupported import Unsupported


@dataclass(frozen=True)
class State:
    """Base of every streaming state.

    Fields are tensors whose first dimension is the batch, other states, tuples of such, or None.

    A state is a value: a mixer returns a new one and leaves the old one usable, so a search may branch from it.
    """

    seen_b: Tensor
    "Real (unmasked) tokens seen so far, per row: the position of the next one."

    def map(self, change: Callable[[Tensor], Tensor]) -> Self:
        """Return the same state with `change` applied to every tensor."""
        return self.changed(change, lambda state: state.map(change))

    def changed(self, of_tensor: Callable[[Tensor], Tensor], of_state: Callable[[State], State]) -> Self:
        """Return the same state with one change of every tensor, and another of every state in it.

        Overridden where something else must not outlast a change of the tensors, such as storage that they are part of.
        """
        return replace(self, **{f.name: _changed(getattr(self, f.name), of_tensor, of_state) for f in fields(self)})

    @property
    def nbytes(self) -> int:
        """Bytes held by the tensors."""
        return sum(t.numel() * t.element_size() for f in fields(self) for t in _tensors_in(getattr(self, f.name)))

    def reorder(self, rows: Tensor) -> Self:
        """Return the state with row `rows[i]` of the batch as row i, as a beam search picks rows."""
        return self.changed(lambda t: t.index_select(0, rows.to(t.device)), lambda state: state.reorder(rows))

    def detach(self) -> Self:
        """Return the same state, cut off from the graph that made it."""
        return self.map(Tensor.detach)

    def outside_inference_mode(self) -> Self:
        """Return the state with ordinary tensors: a copy, if it was made in inference mode and is used outside."""
        if torch.compiler.is_compiling() or torch.is_inference_mode_enabled():
            return self
        for value in vars(self).values():  # a loop, as every layer asks at every step
            tensors = (value,) if isinstance(value, Tensor) else _tensors_in(value)
            for tensor in tensors:
                if tensor.is_inference():
                    return self.map(torch.clone)
        return self

    @property
    def is_unique(self) -> bool:
        """True if the same tokens would have left the same tensors, whatever calls they had been cut into."""
        return True

    @property
    def can_trim(self) -> bool:
        """True if `trim` works."""
        return type(self).trim is not State.trim

    def reset(self, rows_b: Tensor) -> Self:
        """Return the state in which the rows that are True, (B,) booleans, have seen nothing yet.

        Raise `Unsupported` where that is impossible.
        """
        raise Unsupported(f"{type(self).__name__} cannot reset single rows; start all of them without a state")

    def overwrite(self, new: State) -> None:
        """Put the numbers of another state into this one's tensors, which stay where they are in memory.

        Raise ValueError for a state of another type or other shapes: whoever asks has promised that there is none.
        """
        kept, given = self.tensors(), new.tensors()
        if type(new) is not type(self) or [t.shape for t in kept] != [t.shape for t in given]:
            raise ValueError(
                f"a {type(self).__name__} of shapes {[tuple(t.shape) for t in kept]} cannot hold a "
                f"{type(new).__name__} of shapes {[tuple(t.shape) for t in given]}; start with an empty cache"
            )
        for old, now in zip(kept, given, strict=True):
            old.copy_(now)

    def tensors(self) -> list[Tensor]:
        """Return every tensor of the state, in order."""
        return [tensor for f in fields(self) for tensor in _tensors_in(getattr(self, f.name))]

    def trim(self, count_b: Tensor) -> Self:
        """Return the state without the last `count_b` tokens of each row.

        Raise `Unsupported` where that is impossible.
        """
        raise Unsupported(
            f"{type(self).__name__} cannot forget tokens: they are summed up; keep a copy of the earlier state"
        )


def _tensors_in(value: Any) -> list[Tensor]:
    """Return the tensors of a field, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, State):
        return value.tensors()
    return [tensor for item in value for tensor in _tensors_in(item)] if isinstance(value, tuple) else []


def _changed(value: Any, of_tensor: Callable[[Tensor], Tensor], of_state: Callable[[State], State]) -> Any:
    if isinstance(value, Tensor):
        return of_tensor(value)
    if isinstance(value, State):
        return of_state(value)
    if isinstance(value, tuple):
        items = [_changed(item, of_tensor, of_state) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    return value
