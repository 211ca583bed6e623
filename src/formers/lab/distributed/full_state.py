"""Weights and optimizer states as a whole, wherever their parts are: gathered for the first rank, and given out by it.

All ranks have to ask at the same point. Where each holds everything (one process, DDP) nothing travels but what is given out.
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

_GATHERED = StateDictOptions(full_state_dict=True, cpu_offload=True)


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Every weight by its name, tied ones once, on the CPU; on the first rank only, the others get nothing."""
    state: dict[str, Any] = get_model_state_dict(model, options=_GATHERED)
    return {name: state[name].contiguous() for name in _names(model) if name in state}


def put_weights(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Gives the first rank's weights to the model, on every rank. Raises `ValueError` where they are not those of the model."""
    wrong = ranks.broadcast_from_rank0(sorted(set(_names(model)) ^ set(weights)))
    if wrong:
        raise ValueError(f"these weights are not of this model: {', '.join(wrong)} are in one of them only")
    given: dict[str, Any] = {**weights}  # torch adds to it what is missing: the second names of tied weights
    set_model_state_dict(model, given, options=_given_out(strict=False))


def optimizer_state_of(model: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """The state of an optimizer by the names of the weights; on the first rank only."""
    return get_optimizer_state_dict(model, optimizer, options=_GATHERED)


def put_optimizer_state(model: nn.Module, optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Gives the first rank's state to the optimizer, on every rank."""
    set_optimizer_state_dict(model, optimizer, state, options=_given_out())


def _names(model: nn.Module) -> list[str]:
    """The names under which a model keeps its weights: of tied ones the first."""
    kept = model.state_dict().keys()
    return [name for name, _ in chain(model.named_parameters(), model.named_buffers()) if name in kept]


def _given_out(strict: bool = True) -> StateDictOptions:
    return StateDictOptions(full_state_dict=True, broadcast_from_rank0=ranks.world_size() > 1, strict=strict)
