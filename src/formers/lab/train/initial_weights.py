"""Initial weights: what two arms have in common begins with the same numbers."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import torch

from formers.part import seeded

if TYPE_CHECKING:
    from formers.models import TransformerConfig
    from formers.models.pretrained import FormersModel
    from formers.tasks.checks.checked_task import CheckedTask


def seeded_model(task: CheckedTask, config: TransformerConfig, seed: int) -> FormersModel:
    """Return a new model whose every module draws its weights from a stream of its own, given by seed and module name.

    So a swapped part does not shift the random numbers of the parts after it: parameters with the same name, shape and
    distribution start equal in every arm with the same seed. The global random state is left as it was.
    """
    device = torch.get_default_device()
    with seeded(seed, device):
        model = task.model(config)
    for name, module in reversed([*model.named_modules()]):  # a part's own rule comes after its layers' usual one
        with seeded(_module_seed(seed, name), device):
            model._init_weights(module)
    model.tie_weights()
    return model


def _module_seed(seed: int, name: str) -> int:
    """Return a 63-bit seed for the weights of one module."""
    return int.from_bytes(hashlib.sha256(f"weights/{seed}/{name}".encode()).digest()[:8], "big") >> 1
