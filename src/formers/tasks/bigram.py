"""The bigram model: the line that a model of text must be well below."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def bigram_bits(train: Tensor, held_out: Tensor, size: int, alpha: float = 1.0) -> float:
    """Return the bits per character of `p(b | a) = (count(a, b) + α) / (count(a) + α·size)` on held-out text.

    Counts come from `train`; every character of `held_out` but the first is predicted from the one before it.
    """
    pairs = train[:-1] * size + train[1:]
    counts = torch.bincount(pairs, minlength=size * size).reshape(size, size).double() + alpha
    log_p = (counts / counts.sum(1, keepdim=True)).log()
    return -log_p[held_out[:-1], held_out[1:]].mean().item() / math.log(2)
