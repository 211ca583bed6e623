"""What a model answers to many inputs, without leaving a trace in it."""

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
    """Inside, the model is in eval mode and nothing has a gradient; afterwards it is in the mode it was in."""
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(training)


def answers(model: PreTrainedModel, inputs: Mapping[str, Tensor], rows: int) -> Tensor:
    """The likeliest class at each place where the model gives one, on the CPU: (B, …), read `rows` at a time."""
    found = []
    with asked(model):
        for first in range(0, len(next(iter(inputs.values()))), rows):
            batch = {name: tensor[first : first + rows].to(model.device) for name, tensor in inputs.items()}
            found.append(model(**batch).logits.argmax(-1).cpu())
        return torch.cat(found)
