"""How a long text is read by a model: in windows, so that each token is predicted once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

_TOKENS = 1 << 13
"""Tokens that a model reads at a time."""


class WindowBatch(NamedTuple):
    """Windows of one length, and the entries that they give.

    Entry i is the place after token i of the text, where token i + 1 is predicted.

    Attributes:
        ids_bl: tokens of the windows, (B, L).
        rows, columns: where the entries stand in the windows, (n,) each.
        targets: the token after each entry, (n,) int64.
    """

    ids_bl: Tensor
    rows: Tensor
    columns: Tensor
    targets: Tensor

    def at(self, x_bl: Tensor) -> Tensor:
        """Return what stands at the entries, (n, …), of a tensor over the windows, (B, L, …)."""
        return x_bl[self.rows.to(x_bl.device), self.columns.to(x_bl.device)]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Windows of `length` tokens; each token but the text's first is predicted once.

    Windows overlap, so that what is predicted in a window, but the first, has at least `context` + 1 tokens before it
    there. With 0 they overlap by one token, as where a task evaluates a model on a text.

    Attributes:
        length: tokens in a window; the model's own length, as a rule.
        context: tokens at the start of each window, but the first, that are read and not predicted again.

    Raise ValueError unless there is something to predict in each window.
    """

    length: int
    context: int = 0

    def __post_init__(self) -> None:
        if self.length < 2 or not 0 <= self.context <= self.length - 2:
            raise ValueError(
                f"a window of {self.length} tokens that leaves {self.context} to context predicts nothing; length must "
                "be at least 2, and context from 0 to length − 2"
            )

    def count(self, ids: Tensor) -> int:
        """Return how many entries a text (N,) gives: N − 1. Raise ValueError for less than two tokens."""
        if ids.ndim != 1 or len(ids) < 2:
            raise ValueError(f"a text of shape {tuple(ids.shape)} was given; expected (N,) with at least two tokens")
        return len(ids) - 1

    def batches(self, ids: Tensor, start: int = 0, stop: int | None = None) -> Iterator[WindowBatch]:
        """Yield the windows in which the entries `start` … `stop` − 1 of a text (N,) are predicted, in order."""
        count = self.count(ids)
        stop = count if stop is None else min(stop, count)
        rows = max(1, _TOKENS // self.length)
        last = self._window_of(stop - 1)
        for first in range(self._window_of(start), last + 1, rows):
            windows = torch.arange(first, min(first + rows, last + 1))
            yield from self._batch(ids, windows, start, stop)

    @property
    def _step(self) -> int:
        return self.length - 1 - self.context

    def _window_of(self, entry: int) -> int:
        """Return the number of the window in which an entry is predicted."""
        return max(0, entry - self.context) // self._step

    def _batch(self, ids: Tensor, windows: Tensor, start: int, stop: int) -> Iterator[WindowBatch]:
        """Yield the windows of these numbers, those that the text's end cuts short apart."""
        whole = windows * self._step + self.length <= len(ids)
        for chosen, length in [(windows[whole], self.length), *((w[None], 0) for w in windows[~whole])]:
            if not len(chosen):
                continue
            begins = chosen * self._step
            length = length or len(ids) - int(begins[0])
            places = begins[:, None] + torch.arange(length)
            tokens = ids[int(begins[0]) : int(begins[-1]) + length].long()
            ids_bl = tokens[places - begins[0]]
            wanted = self._wanted(places, chosen, start, stop)
            rows, columns = wanted.nonzero(as_tuple=True)
            if len(rows):
                yield WindowBatch(ids_bl, rows, columns, ids_bl[rows, columns + 1])

    def _wanted(self, places_bl: Tensor, windows: Tensor, start: int, stop: int) -> Tensor:
        """Return which places of the windows are entries that are predicted there, (B, L), the last column False."""
        new = torch.arange(places_bl.shape[1]) >= self.context
        wanted = (new | (windows == 0)[:, None]) & (places_bl >= start) & (places_bl < stop)
        wanted[:, -1] = False
        return wanted
