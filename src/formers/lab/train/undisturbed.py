"""What a task's code may change in the process while it evaluates, put back afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from formers.lab.train.random_state import random_states, set_random_states


@contextmanager
def undisturbed() -> Iterator[None]:
    """Put back, after the block, what a training depends on: random states, gradients, and the default type.

    So a task that draws random numbers while it evaluates changes nothing in the training around it.
    """
    states, gradients = random_states(), torch.is_grad_enabled()
    dtype = torch.get_default_dtype()
    try:
        yield
    finally:
        set_random_states(states)
        torch.set_grad_enabled(gradients)
        torch.set_default_dtype(dtype)
