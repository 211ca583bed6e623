"""A record of how many steps tokens got, while a model runs or generates."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class StepRecord:
    """The number of steps that each real token got, pass by pass."""

    def __init__(self) -> None:
        self.passes: list[Tensor] = []

    def add(self, steps_bl: Tensor, mask_bl: Tensor | None) -> None:
        """Add the tokens of a pass, (B, L), without padding."""
        self.passes.append((steps_bl if mask_bl is None else steps_bl[mask_bl]).flatten().detach())

    def steps(self, *, first: int = 0) -> Tensor:
        """Return the steps of all tokens, (tokens,), from pass number `first` on: 1 leaves out a prompt."""
        return torch.cat(self.passes[first:]) if self.passes[first:] else torch.zeros(0, dtype=torch.long)

    def mean(self, *, first: int = 0) -> float:
        """Return the mean number of steps; NaN without tokens."""
        return float(self.steps(first=first).double().mean())


class _OpenRecord(threading.local):
    record: StepRecord | None = None


_open = _OpenRecord()


@contextmanager
def record_steps() -> Iterator[StepRecord]:
    """Record the steps of tokens that run in this thread under computations where they differ.

    with record_steps() as record:
        model.generate(ids, max_new_tokens=100)
    record.mean(first=1)      # without the prompt
    """
    outer, _open.record = _open.record, StepRecord()
    try:
        yield _open.record
    finally:
        _open.record = outer


def record(steps_bl: Tensor, mask_bl: Tensor | None) -> None:
    """Add a pass to the record that is open in this thread, if one is."""
    if _open.record is not None:
        _open.record.add(steps_bl, mask_bl)
