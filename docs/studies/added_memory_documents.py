"""Documents that the study of an added memory reads, and the segments of them that models are given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

WINDOW = 64
"""Tokens of a segment, and tokens that a layer attends to."""


class Document(NamedTuple):
    """A document and what is measured in it.

    Attributes:
        ids: tokens, (N + 1,); each but the first, which begins every document, is predicted.
        kinds: for each predicted token, which of its corpus's kinds it is, or −1 where it is not measured, (N,).
        units: of how many units of its corpus each predicted token is, (N,).
    """

    ids: Tensor
    kinds: Tensor
    units: Tensor


class Segment(NamedTuple):
    """The next tokens of several rows, each (rows, WINDOW) but for `begins`, (rows,): whose document begins here."""

    inputs: Tensor
    targets: Tensor
    kinds: Tensor
    units: Tensor
    begins: Tensor


class Plan(NamedTuple):
    """Models and their training.

    Attributes:
        small, large: width and depth of the models.
        rows: documents that are read side by side.
        steps: of the small model, of everything that goes on from it, and of the large one.
        rates: of the small model and of the large one.
        memory: the one that is added.
    """

    small: tuple[int, int]
    large: tuple[int, int]
    rows: int
    steps: tuple[int, int, int]
    rates: tuple[float, float]
    memory: str


class Corpus(Protocol):
    """Documents without end for training, and some that are measured, in `unit`s; `facts` are kept with the results."""

    plan: Plan
    kinds: tuple[str, ...]
    unit: str
    vocab_size: int
    facts: dict[str, str | int]

    def training(self, seed: int) -> Iterator[Document]: ...

    def test(self) -> Iterator[Document]: ...


def side_by_side(documents: Iterator[Document], rows: int) -> Iterator[Segment]:
    """Yield the segments of documents, each of which is read by one row: where it ends, the next one begins there.

    What a document leaves of its last segment is not measured, nor are rows for which there is no document any more.
    """
    nothing = torch.zeros(WINDOW, dtype=torch.long)
    empty = Segment(nothing, nothing, nothing - 1, nothing, torch.tensor(False))
    read = [_segments_of(documents) for _ in range(rows)]
    while True:
        parts = [next(row, None) for row in read]
        if not any(parts):
            return
        yield Segment(*(torch.stack(part) for part in zip(*(part or empty for part in parts), strict=True)))


def _segments_of(documents: Iterator[Document]) -> Iterator[Segment]:
    """Yield the segments of one row, which takes its documents from those of all rows."""
    for ids, kinds, units in documents:
        for start in range(0, len(kinds), WINDOW):
            part = slice(start, start + WINDOW)
            inputs, targets = ids[:-1][part], ids[1:][part]
            yield Segment(
                _filled(inputs, 0),
                _filled(targets, 0),
                _filled(kinds[part], -1),
                _filled(units[part], 0),
                torch.tensor(start == 0),
            )


def _filled(part: Tensor, value: int) -> Tensor:
    """Return a part of a document, (≤ WINDOW,), with so many values behind it that it is a whole segment."""
    return torch.nn.functional.pad(part, (0, WINDOW - len(part)), value=value)
