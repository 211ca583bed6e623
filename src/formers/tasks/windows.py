"""Windows of a text: drawn at random to train on, and in order to measure a model of the next token."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn.functional import cross_entropy

from formers.part import evaluating
from formers.tasks.task import Example

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_ROWS = 64  # windows evaluated at a time: enough to fill the cores, few enough to stay in cache
_TOKENS = 1 << 16  # in these windows, at most: attention maps of long ones have to fit in memory


def window(ids: Tensor, length: int, stream: random.Random) -> Example:
    """Return a random window of a text (N,); the model shifts the labels itself."""
    start = stream.randrange(len(ids) - length + 1)
    inputs = ids[start : start + length].long()
    return {"input_ids": inputs, "labels": inputs}


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
