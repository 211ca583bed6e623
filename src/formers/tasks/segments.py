"""Texts read in contiguous segments: each row of a batch goes on where the same row of the batch before stopped."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset

from formers.part import evaluating
from formers.tasks.task import BEGINS, Example

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_STRIPS = 8
"""Strips of a text that are evaluated side by side, at most: each begins without a memory."""
_SEGMENTS = 16
"""Segments in each of these strips, at least, where there are several."""


class Segments(Dataset[Example]):
    """The first `count` segments of a text (N,) that `rows` rows read side by side: example i belongs to row i % rows.

    Each row has a strip of the text, as long as every other, and reads it from its first segment to its last. Then all
    rows begin anew, a few tokens further or before: what the strips leave over of the text is at its end and, up to
    `length` − 1 tokens drawn for each time around from `stream` and its number, at its beginning.

    An example holds the `length` tokens of its segment (`input_ids`), these and the next one (`labels`), and whether
    nothing before it belongs to it (`begins`).
    """

    def __init__(self, ids: Tensor, length: int, *, rows: int, stream: str, count: int) -> None:
        """Raise ValueError where the text is too short for a segment in each row."""
        self.ids, self.length, self.rows, self.stream, self.count = ids, length, rows, stream, count
        self.strip = (len(ids) - length) // (rows * length)
        "Segments in a strip."
        if self.strip < 1:
            raise ValueError(
                f"a text of {len(ids):,} tokens has no strip of a segment of {length:,} for each of {rows:,} rows; "
                "give a longer text, shorter segments, or smaller batches"
            )

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < self.count:
            raise IndexError(f"example {index} of {self.count}")
        step, row = divmod(index, self.rows)
        around, segment = divmod(step, self.strip)
        offset = random.Random(f"{self.stream}/{around}").randrange(self.length)
        start = offset + (row * self.strip + segment) * self.length
        labels = self.ids[start : start + self.length + 1]
        return {"input_ids": labels[:-1], "labels": labels, BEGINS: torch.tensor(segment == 0)}


def mean_nats_in_segments(model: PreTrainedModel, ids: Tensor, length: int) -> float:
    """Return the mean −log p over every token of a text but its first, (N,), read in contiguous segments.

    The text is read in up to eight strips side by side. A model with a memory that is carried on has it in every
    segment but the first of each strip; any other one reads each segment by itself.
    """
    with evaluating(model):
        total = sum(_sum_of_nats(model, ids, length))
    return total / (len(ids) - 1)


def _sum_of_nats(model: PreTrainedModel, ids: Tensor, length: int) -> Iterator[float]:
    """Yield the sum of −log p over the tokens of each step; what is left over goes on from the last strip."""
    rows = min(max(len(ids) // (_SEGMENTS * length), 1), _STRIPS)
    strip = (len(ids) - 1) // rows
    past = _memory_of(model)
    inputs_rs, targets_rs = (ids[shift : shift + rows * strip].view(rows, strip) for shift in (0, 1))
    for inputs, targets in zip(inputs_rs.split(length, 1), targets_rs.split(length, 1), strict=True):
        yield _segment_nats(model, inputs, targets, past)
    rest = ids[rows * strip :]
    if len(rest) > 1:
        if past:
            past["past_key_values"].batch_select_indices(torch.tensor([rows - 1], device=model.device))
        yield _segment_nats(model, rest[None, :-1], rest[None, 1:], past)


def _segment_nats(model: PreTrainedModel, inputs_bl: Tensor, targets_bl: Tensor, past: dict[str, Any]) -> float:
    logits = model(input_ids=inputs_bl.to(model.device), **past).logits.float()
    return cross_entropy(logits.flatten(0, 1), targets_bl.to(model.device).flatten(), reduction="sum").item()


def _memory_of(model: PreTrainedModel) -> dict[str, Any]:
    """Return the model's arguments for an empty memory that it moves on; none where it has nothing to carry on."""
    from formers.models import StateCache  # imports Hugging Face, which takes seconds

    return {"past_key_values": StateCache()} if model.config.memory.carried else {}
