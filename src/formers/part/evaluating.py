"""A module as it answers, not as it trains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into eval mode without gradients inside the block, and all in it back into its own mode after it."""
    with eval_mode(module), torch.inference_mode():
        yield


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Put a module into eval mode inside the block, and all in it back into its own mode after it: some of what trains
    may be frozen, without dropout."""
    modes = [(one, one.training) for one in module.modules()]
    module.eval()
    try:
        yield
    finally:
        module.train(modes[0][1])
        for one, training in modes:
            one.training = training
