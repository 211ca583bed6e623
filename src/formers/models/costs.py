"""The costs of a model in operations and bytes, counted on tensors without data."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from transformers import PreTrainedModel

from formers.ops import OperationCount

_Model = TypeVar("_Model", bound=PreTrainedModel)


def on_meta(model: _Model) -> _Model:
    """Return a copy of the model's structure without data, in eval mode; the model itself if it is one."""
    if model.device.type == "meta" and not model.training:
        return model
    with torch.device("meta"):
        return type(model)(model.config).eval()


def flops_per_token(model: PreTrainedModel, length: int) -> float:
    """Return the floating-point operations of a forward pass over `length` tokens, per token; a product counts 2·m·n·k.

    Matrix products and Fourier transforms are counted, element-wise work is not. Exact attention is counted over all
    pairs even when causal, as is the custom. With a memory they are the tokens of a segment, and the memory is full.
    """
    model = on_meta(model)
    past = _full_memory(model)
    with OperationCount() as counted:
        model(**model.example_inputs(length), **past)
    return counted.total / length


def state_bytes_per_token(model: PreTrainedModel, length: int) -> float | None:
    """Return the bytes that the streaming state of one sequence grows by with each token, from length/2 to length."""
    if not model.streaming:
        return None
    if length < 2:
        raise ValueError(f"length must be at least 2 to see a state grow, but {length} was given")
    half, whole = (state_bytes(model, tokens) for tokens in (length // 2, length))
    return None if half is None or whole is None else (whole - half) / (length - length // 2)


def state_bytes(model: PreTrainedModel, length: int) -> int | None:
    """Return the bytes of one sequence's streaming state after `length` tokens; None if the model does not stream."""
    if not model.streaming:
        return None
    with torch.no_grad():
        cache = on_meta(model).base_model(**model.example_inputs(length), use_cache=True).past_key_values
    return int(cache.nbytes)


def _full_memory(model: PreTrainedModel) -> dict[str, Any]:
    """Return the model's arguments that hold its memory after as many tokens as it takes; none without a memory."""
    memory = model.config.memory
    if not memory.carried or not model.streaming:
        return {}
    filled = model.base_model(**model.example_inputs(memory.tokens()), use_cache=True)
    return {"past_key_values": filled.past_key_values}
