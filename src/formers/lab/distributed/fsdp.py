"""Models sharded over ranks: each holds a slice of every weight, gradient and optimizer state (FSDP)."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Shard

from formers.lab.distributed import ranks
from formers.models import Transformer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_VIEW_WARNING = "FSDP2-wrapped module .* returned a view tensor"
"""It is about keys and values in a layer's state, which nobody changes in place."""


def shard(model: PreTrainedModel) -> None:
    """Shard a model over all ranks, in place: this rank keeps a slice of each weight.

    A layer is gathered when it runs, forward and backward, and released after; what is outside of the layers
    (embeddings, the last norm, the head) as one more group. Gradients are averaged, as DDP does. Memory for R ranks:
    1/R of weights, gradients and optimizer states, and the whole of one layer at a time. Source: Zhao et al. 2023
    (FSDP), arXiv:2304.11277.
    """
    mesh = init_device_mesh("cuda" if torch.cuda.is_available() else "cpu", (ranks.world_size(),))
    backbone = model.base_model
    assert isinstance(backbone, Transformer)
    for layer in backbone.separate_layers():
        fully_shard(layer, mesh=mesh, shard_placement_fn=_placement)
    fully_shard(model, mesh=mesh, shard_placement_fn=_placement, reshard_after_forward=True)
    model._is_accelerate_prepared = True  # accelerate would wrap it for DDP
    model.register_forward_pre_hook(_broadcast_buffers)
    warnings.filterwarnings("ignore", _VIEW_WARNING)


def _placement(weight: nn.Parameter) -> Shard:
    """Return the dimension to slice a weight along: the first that has equal slices; else the first of all."""
    return Shard(next((i for i, length in enumerate(weight.shape) if length % ranks.world_size() == 0), 0))


def _broadcast_buffers(model: nn.Module, args: Any) -> None:
    """Take rank 0's buffers, such as random projections that it drew anew, in training: as DDP does."""
    if model.training:
        for buffer in model.buffers():
            distributed.broadcast(buffer, 0)
