"""Whole weights and optimizer states of a model that may be sharded: gathered on rank 0, and given out by it.

All ranks have to call these functions at the same point. Where each rank holds everything (one process, DDP), gathering
moves nothing.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.optim import Optimizer

from formers.lab.distributed import ranks

_GATHER = StateDictOptions(full_state_dict=True, cpu_offload=True)


def full_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return every weight by its name, tied ones once, on the CPU; on rank 0 only, others return an empty dict.

    They may be the model's own tensors: save them before it is trained on.
    """
    state: dict[str, Any] = model.state_dict()
    if ranks.world_size() > 1 or any("_orig_mod" in name for name in state):  # torch asks of each whether it is sharded
        state = get_model_state_dict(model, options=_GATHER)
    return {name: state[name].detach().cpu().contiguous() for name in _weight_names(model) if name in state}


def load_full_weights(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Load rank 0's weights into the model, on every rank; what other ranks pass is not used.

    Raises:
        ValueError: where they are not the weights of this model.
    """
    if wrong := ranks.broadcast_from_rank0(_misfit(model, weights)):
        raise ValueError(f"these weights are not of this model: {wrong}")
    state: dict[str, Any] = {**weights}  # torch adds to it what is missing: the second names of tied weights
    set_model_state_dict(model, state, options=_scatter())


def full_optimizer_state(model: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """Return the state of an optimizer by the names of the weights; on rank 0 only."""
    return get_optimizer_state_dict(model, optimizer, options=_GATHER)


def load_full_optimizer_state(model: nn.Module, optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Load rank 0's state into the optimizer, on every rank.

    A weight that has not had a gradient yet has no state there, and gets its own with the first one, as it would have.
    """
    set_optimizer_state_dict(model, optimizer, state, options=_scatter())
    known = ranks.broadcast_from_rank0(set(state.get("state", ())))
    for name, weight in model.named_parameters():
        if name not in known:
            optimizer.state.pop(weight, None)  # torch has taken a step with a gradient of zero to fill it


def _weight_names(model: nn.Module) -> list[str]:
    """Return the names under which a model keeps its weights: of tied ones the first."""
    kept = model.state_dict().keys()
    return [name for name, _ in chain(model.named_parameters(), model.named_buffers()) if name in kept]


def _misfit(model: nn.Module, weights: dict[str, Tensor]) -> str:
    """Return in which names or shapes weights differ from those of the model; empty where they are its own."""
    own = model.state_dict()
    if alone := sorted(set(_weight_names(model)) ^ set(weights)):
        return f"{', '.join(alone)} {'is' if len(alone) == 1 else 'are'} in one of them only"
    misfits = [name for name, value in weights.items() if value.shape != own[name].shape]
    return ", ".join(f"{name} has shape {tuple(weights[name].shape)}, not {tuple(own[name].shape)}" for name in misfits)


def _scatter() -> StateDictOptions:
    return StateDictOptions(full_state_dict=True, broadcast_from_rank0=ranks.world_size() > 1, strict=False)
