"""The costs of a model in operations and bytes, counted on tensors without data."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

_Model = TypeVar("_Model", bound=PreTrainedModel)


def _real_fft_flops(input_shape: Any, dims: Any, *args: Any, **kwargs: Any) -> int:
    """Return 2.5·n·log2 n, the operations of a real transform of n numbers as FFTW counts; for prime lengths too."""
    return _fft_flops(input_shape, dims, 2.5)


def _complex_fft_flops(input_shape: Any, dims: Any, *args: Any, **kwargs: Any) -> int:
    """Return 5·n·log2 n, the operations of a complex transform of n numbers as FFTW counts."""
    return _fft_flops(input_shape, dims, 5.0)


def _fft_flops(shape: Any, dims: Any, factor: float) -> int:
    """Return factor · n · Σ log2 of the lengths that are transformed, with n numbers in all."""
    return int(factor * math.prod(shape) * sum(math.log2(max(shape[d], 2)) for d in dims))


FFTS = {
    torch.ops.aten._fft_r2c: _real_fft_flops,
    torch.ops.aten._fft_c2c: _complex_fft_flops,
    torch.ops.aten._fft_c2r: _real_fft_flops,
}
"""Fourier transforms → their operations, for `FlopCounterMode(custom_mapping=FFTS)`; it counts products by itself."""


def on_meta(model: _Model) -> _Model:
    """Return a copy of the model's structure without data, in eval mode; the model itself if it is one."""
    if model.device.type == "meta" and not model.training:
        return model
    with torch.device("meta"):
        return type(model)(model.config).eval()


def flops_per_token(model: PreTrainedModel, length: int) -> float:
    """Return the floating-point operations of a forward pass over `length` tokens, per token; a product counts 2·m·n·k.

    Matrix products and Fourier transforms are counted, element-wise work is not. Exact attention is counted over all
    pairs even when causal, as is the custom.
    """
    with FlopCounterMode(display=False, custom_mapping=FFTS) as counter:
        on_meta(model)(input_ids=_ids_on_meta(length))
    return counter.get_total_flops() / length


def state_bytes_per_token(model: PreTrainedModel, length: int) -> float | None:
    """Return the bytes that the streaming state of one sequence grows by with each token, from length/2 to length."""
    if length < 2:
        raise ValueError(f"length must be at least 2 to see a state grow, but {length} was given")
    half, whole = (state_bytes(model, tokens) for tokens in (length // 2, length))
    return None if half is None or whole is None else (whole - half) / (length - length // 2)


def state_bytes(model: PreTrainedModel, length: int) -> int | None:
    """Return the bytes of one sequence's streaming state after `length` tokens; None if the model does not stream."""
    if not model.streaming:
        return None
    cache = on_meta(model).base_model(input_ids=_ids_on_meta(length), use_cache=True).past_key_values
    return int(cache.nbytes)


def _ids_on_meta(length: int) -> torch.Tensor:
    """Return tokens without data, (1, length)."""
    return torch.zeros(1, length, dtype=torch.long, device="meta")
