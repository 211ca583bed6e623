"""The device that arms are trained on, and the precision of its products."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from types import MethodType
from typing import TYPE_CHECKING

import torch

from formers.lab.distributed import ranks
from formers.machine.device import choose_device

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from formers.lab.study.compute import Compute

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def device_for(compute: Compute) -> str:
    """Return `cuda` or `cpu`. Raise ValueError for a device, or a precision, that this machine has not."""
    device = choose_device(compute.device)
    if compute.precision == "fp16" and device == "cpu":
        raise ValueError("precision=fp16 is for GPUs, and this is trained on a CPU; use bf16 or fp32")
    if device == "cpu" and torch.cuda.is_available() and ranks.world_size() > 1:
        raise ValueError(
            "device=cpu with several processes needs the GPUs out of sight; start them with CUDA_VISIBLE_DEVICES="
        )
    return device


def in_precision(model: PreTrainedModel, device: str, precision: str) -> PreTrainedModel:
    """Return the model, whose forward pass is made in this precision from now on, as that of a model in training is.

    That is what accelerate does with a model that it prepares: outputs are float32, whatever is computed from them.
    """
    if precision in _DTYPES:
        from accelerate.utils.operations import convert_outputs_to_fp32

        forward = torch.autocast(device, dtype=_DTYPES[precision])(type(model).forward)
        model.forward = MethodType(convert_outputs_to_fp32(forward), model)
    return model


def autocast(device: str, precision: str) -> AbstractContextManager[object]:
    """Return a context in which products are made in this precision."""
    return torch.autocast(device, dtype=_DTYPES[precision]) if precision in _DTYPES else nullcontext()
