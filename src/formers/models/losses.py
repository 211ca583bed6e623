"""Losses that the heads share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

IGNORED = -100
"""The label that does not count, as everywhere in Hugging Face."""


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean −log p of the labels in nats, without those that are −100; computed in float32 or wider.

    Args:
        logits: (…, classes).
        labels: (…).
    """
    widened: Any = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    return F.cross_entropy(widened.flatten(0, -2), labels.flatten(), ignore_index=IGNORED)
