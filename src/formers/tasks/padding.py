"""Padding, so that the examples of a task stack."""

from __future__ import annotations

import torch
from torch import Tensor

from formers.tasks.task import Example


def padded(ids: Tensor, length: int) -> Example:
    """Return tokens and their mask, (L,) each: 0 and masked after the end."""
    input_ids, mask = torch.zeros(2, length, dtype=torch.long)
    input_ids[: len(ids)], mask[: len(ids)] = ids, 1
    return {"input_ids": input_ids, "attention_mask": mask}
