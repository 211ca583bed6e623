"""A model spread over ranks: each holds its part of every weight, gradient and optimizer state (FSDP, torch's `fully_shard`)."""

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

_VIEWS = "FSDP2-wrapped module .* returned a view tensor"


def shard(model: PreTrainedModel) -> None:
    """Leaves this rank its part of the model: a slice of each weight.

    A layer is gathered when it runs, forward and backward, and let go of after; what is outside of the layers (embeddings, the
    last norm, the head) as one more group. Gradients are averaged, as DDP does. Memory for R ranks: 1/R of weights, gradients
    and optimizer states, and the whole of one layer at a time. Source: Zhao et al. 2023 (FSDP), arXiv:2304.11277.
    """
    mesh = init_device_mesh("cuda" if torch.cuda.is_available() else "cpu", (ranks.world_size(),))
    backbone = model.base_model
    assert isinstance(backbone, Transformer)
    for layer in backbone.separate_layers():
        fully_shard(layer, mesh=mesh, shard_placement_fn=cut)
    fully_shard(model, mesh=mesh, shard_placement_fn=cut, reshard_after_forward=True)
    model._is_accelerate_prepared = True  # accelerate would wrap it for DDP
    model.register_forward_pre_hook(_same_buffers)
    warnings.filterwarnings(
        "ignore", _VIEWS
    )  # those of keys and values in a layer's state, which nobody changes in place


def cut(weight: nn.Parameter) -> Shard:
    """The dimension to cut a weight along: the first that falls into equal parts; else the first, into parts that differ."""
    return Shard(next((i for i, length in enumerate(weight.shape) if length % ranks.world_size() == 0), 0))


def _same_buffers(model: nn.Module, given: Any) -> None:
    """Takes the first rank's buffers, such as random directions that it drew anew, in training: as DDP does."""
    if model.training:
        for buffer in model.buffers():
            distributed.broadcast(buffer, 0)
