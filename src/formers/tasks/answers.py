"""Answers of a model to many inputs, without leaving a trace in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@contextmanager
def asked(model: PreTrainedModel) -> Iterator[None]:
    """Put a model into eval mode without gradients inside the block, and back into its mode after it."""
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(training)


def answers(model: PreTrainedModel, inputs: Mapping[str, Tensor], rows: int) -> Tensor:
    """Return the likeliest class at each place where the model gives one, (B, …) on the CPU; `rows` rows at a time."""
    found = []
    with asked(model):
        for first in range(0, len(next(iter(inputs.values()))), rows):
            batch = {name: tensor[first : first + rows].to(model.device) for name, tensor in inputs.items()}
            found.append(model(**batch).logits.argmax(-1).cpu())
        return torch.cat(found)
