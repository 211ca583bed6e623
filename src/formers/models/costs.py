"""The costs of a model in operations and bytes, counted on tensors without data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from transformers import PreTrainedModel

from formers.ops import OperationCount

_Model = TypeVar("_Model", bound=PreTrainedModel)


def on_meta(model: _Model) -> _Model:
    """Return a copy of the model's structure without data, in eval mode; the model itself if it is one.

    A model that is made of more than its configuration names a class as `counted_as` that is not, and costs the same.
    """
    if model.device.type == "meta" and not model.training:
        return model
    kind: type[_Model] = getattr(model, "counted_as", type(model))
    with torch.device("meta"):
        return kind(model.config).eval()


def flops_per_token(model: PreTrainedModel, length: int, steps: float | None = None) -> float:
    """Return the floating-point operations of a forward pass over `length` tokens, per token; a product counts 2·m·n·k.

    Matrix products and Fourier transforms are counted, element-wise work is not. Exact attention is counted over all
    pairs even when causal, as is the custom. With a memory they are the tokens of a segment, and the memory is full.

    With `steps`, a token takes so many of the steps or layers on average, each at an equal share of what all of them
    cost, and those that it does not take cost nothing: the least that such a pass can cost. Its keys and values in
    steps that others take, and steps of tokens that wait for others in a batch, come on top. Raise ValueError for steps
    below 0 or beyond the model's depth, for a model without one stack of layers, and for no tokens.
    """
    if length < 1:
        raise ValueError(f"length must be at least 1, but {length} was given")
    model = on_meta(model)
    past = _full_memory(model)
    return count_flops(model, lambda: model(**model.example_inputs(length), **past), steps) / length


def count_flops(model: PreTrainedModel, run: Callable[[], object], steps: float | None = None) -> float:
    """Return the operations of a call that runs a model's layers once, without gradients; `steps` as in
    `flops_per_token`."""
    with torch.no_grad(), OperationCount() as counted, _counted_in_layers(model, counted, steps) as in_layers:
        run()
    return counted.total - (0.0 if steps is None else (1 - steps / model.config.depth) * sum(in_layers))


@contextmanager
def _counted_in_layers(model: PreTrainedModel, counted: OperationCount, steps: float | None) -> Iterator[list[int]]:
    """Give a list that gets the operations of the model's steps, if a number of them is asked about."""
    found: list[int] = []
    if steps is None:
        yield found
        return
    computation = getattr(model.base_model, "computation", None)
    if computation is None or not 0 <= steps <= model.config.depth:
        raise ValueError(
            f"steps={steps} was given; expected 0 to depth={model.config.depth} of a model with one stack of layers, "
            f"but this is a {type(model).__name__}"
        )
    hooks = [
        computation.register_forward_pre_hook(lambda *given: found.append(-counted.total)),
        computation.register_forward_hook(lambda *given: found.append(counted.total)),
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def state_bytes_per_token(model: PreTrainedModel, length: int) -> float | None:
    """Return the bytes that the streaming state of one sequence grows by with each token, from length/2 to length."""
    if not model.streaming:
        return None
    if length < 2:
        raise ValueError(f"length must be at least 2 to see a state grow, but {length} was given")
    half, whole = (state_bytes(model, tokens) for tokens in (length // 2, length))
    return None if half is None or whole is None else (whole - half) / (length - length // 2)


def state_bytes(model: PreTrainedModel, length: int) -> int | None:
    """Return the bytes of one sequence's streaming state after `length` tokens, in the precision of the weights.

    None if the model does not stream.
    """
    if not model.streaming:
        return None
    like = on_meta(model).to(model.dtype)
    with torch.no_grad():
        cache = like.base_model(**like.example_inputs(length), use_cache=True).past_key_values
    return int(cache.nbytes)


@torch.no_grad()
def _full_memory(model: PreTrainedModel) -> dict[str, Any]:
    """Return the model's arguments that hold its memory after as many tokens as it takes; none without a memory."""
    memory = model.config.memory
    if not memory.carried or not model.streaming:
        return {}
    filled = model.base_model(**model.example_inputs(memory.tokens(model.config.context_length)), use_cache=True)
    return {"past_key_values": filled.past_key_values}
