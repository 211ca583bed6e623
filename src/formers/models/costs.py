"""What a model costs, counted on tensors without data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.flop_counter import FlopCounterMode

if TYPE_CHECKING:
    from formers.models.backbone import FormersModel


def _fft_flops(input_shape: Any, dims: Any, *args: Any, **kwargs: Any) -> int:
    """2.5·n·log2 n of a real transform of n numbers, as FFTW counts; the same for every length, prime ones too."""
    return _fft(input_shape, dims, 2.5)


def _complex_fft_flops(input_shape: Any, dims: Any, *args: Any, **kwargs: Any) -> int:
    """5·n·log2 n of a complex transform of n numbers, as FFTW counts."""
    return _fft(input_shape, dims, 5.0)


def _fft(shape: Any, dims: Any, factor: float) -> int:
    total = math.prod(shape)
    return int(factor * total * sum(math.log2(max(shape[d], 2)) for d in dims))


FFTS = {
    torch.ops.aten._fft_r2c: _fft_flops,
    torch.ops.aten._fft_c2c: _complex_fft_flops,
    torch.ops.aten._fft_c2r: _fft_flops,
}


def on_meta(model: FormersModel) -> FormersModel:
    """A copy of the model's structure without data, for evaluation; the model itself where it is one."""
    if model.device.type == "meta" and not model.training:
        return model
    with torch.device("meta"):
        return type(model)(model.config).eval()


def flops_per_token(model: FormersModel, length: int) -> float:
    """Floating-point operations of a forward pass over `length` tokens, per token; a product counts 2·m·n·k.

    Matrix products and Fourier transforms are counted, element-wise work is not. Exact attention is counted over all pairs
    even when causal, as is the custom.
    """
    ids = torch.zeros(1, length, dtype=torch.long, device="meta")
    with FlopCounterMode(display=False, custom_mapping=FFTS) as counter:
        on_meta(model)(input_ids=ids)
    return counter.get_total_flops() / length


def state_bytes_per_token(model: FormersModel, length: int) -> float | None:
    """Bytes that the streaming state of one sequence grows by with each token, measured from length/2 to length."""
    if length < 2:
        raise ValueError(f"length must be at least 2 to see a state grow, but {length} was given")
    half, whole = (state_bytes(model, tokens) for tokens in (length // 2, length))
    return None if half is None or whole is None else (whole - half) / (length - length // 2)


def state_bytes(model: FormersModel, length: int) -> int | None:
    """Bytes of the streaming state of one sequence after `length` tokens; None for a model that does not stream."""
    if not model.streaming:
        return None
    ids = torch.zeros(1, length, dtype=torch.long, device="meta")
    return on_meta(model)(input_ids=ids, use_cache=True).past_key_values.nbytes
