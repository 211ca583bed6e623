"""Windows of a text: drawn at random to train on, and in order to measure a model of the next token."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset

from formers.part import evaluating
from formers.tasks.stacked import StackedExamples
from formers.tasks.task import Example

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_AHEAD = 112  # windows read beyond those that are asked for: of seven batches of 16
_ROWS = 64  # windows evaluated at a time: enough to fill the cores, few enough to stay in cache
_TOKENS = 1 << 16  # in these windows, at most: attention maps of long ones have to fit in memory


class RandomWindows(Dataset[Example]):
    """The first `count` random windows of a text (N,), each drawn from a stream of its own; a model shifts the labels.

    Those of several batches are read at once: one by one, they take five times as long.
    """

    def __init__(self, ids: Tensor, length: int, stream: str, count: int) -> None:
        self.ids, self.stream, self.count = ids, stream, count
        self._random = random.Random()  # one that is seeded anew takes half the time of a new one
        self._places, self._offsets = len(ids) - length + 1, torch.arange(length)
        self._first, self._read = 0, self.ids.new_empty((0, length), dtype=torch.long)  # windows, from a number on

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Example:
        window = self._windows([index])[0]
        return {"input_ids": window, "labels": window}

    def __getitems__(self, indices: Sequence[int]) -> StackedExamples:
        """Return several windows, and, where they follow each other, read those after them, too."""
        first, stop = indices[0], indices[-1] + 1
        if [*indices] != [*range(first, stop)]:
            windows = self._windows(indices)
        else:
            if not self._first <= first < stop <= self._first + len(self._read):
                self._first = first
                self._read = self._windows(range(first, max(stop, min(stop + _AHEAD, self.count))))
            windows = self._read[first - self._first : stop - self._first]
        return StackedExamples({"input_ids": windows, "labels": windows})

    def _windows(self, indices: Sequence[int]) -> Tensor:
        """Return windows, (B, L)."""
        starts = torch.tensor([self._start(index) for index in indices])
        return self.ids[starts[:, None] + self._offsets].long()

    def _start(self, index: int) -> int:
        if not 0 <= index < self.count:
            raise IndexError(f"window {index} of {self.count}")
        self._random.seed(f"{self.stream}/{index}")
        return self._random.randrange(self._places)


def mean_nats(model: PreTrainedModel, ids: Tensor, length: int) -> float:
    """Return the mean −log p over every token of a text but its first, (N,), read in windows that overlap by one
    token."""
    full = ids.unfold(0, length, length - 1) if len(ids) >= length else ids[:0, None]
    rest = ids[len(full) * (length - 1) :]
    batches = [*full.split(max(1, min(_ROWS, _TOKENS // length)))] if len(full) else []
    batches += [rest[None]] if len(rest) > 1 else []
    with evaluating(model):
        total = sum(_window_nats(model, batch.to(model.device).long()) for batch in batches)
    return total / (len(ids) - 1)


def _window_nats(model: PreTrainedModel, ids_bl: Tensor) -> float:
    """Return the sum of −log p of tokens 2…L of each row."""
    logits = model(input_ids=ids_bl).logits[:, :-1].float()
    return cross_entropy(logits.flatten(0, 1), ids_bl[:, 1:].flatten(), reduction="sum").item()
