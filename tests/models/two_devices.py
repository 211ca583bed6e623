"""Two devices without a GPU: tensors on `cpu:1` and `cpu:2` are computed with on the CPU, and refuse each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
from accelerate.hooks import AlignDevicesHook, add_hook_to_module
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

FIRST, SECOND = torch.device("cpu:1"), torch.device("cpu:2")
_MOVES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
"""What takes tensors of two devices, as it moves one to the other."""
_INDEXING = (torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default, torch.ops.aten.index_put.default)
"""What takes indices from the CPU for a tensor anywhere: lists of Python become such."""

_OUTSIDE = "formers.ops.sparse_attention.gathered.outside_tracing"
"""What suspends the modes of torch while lists are made, by which tensors are placed here."""


class Placed(Tensor):
    """A tensor of the CPU that says it is on another device."""

    data_: Tensor

    @staticmethod
    def __new__(cls, data: Tensor, device: torch.device) -> Any:
        strides, offset = data.stride(), data.storage_offset()
        made = Tensor._make_wrapper_subclass(
            cls, data.shape, strides=strides, storage_offset=offset, dtype=data.dtype, device=device
        )
        made.data_ = data
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})

    def tolist(self) -> Any:
        return self.data_.tolist()


def plain(value: Any) -> Any:
    """The tensor of the CPU in one that is placed; all else as it is."""
    return value.data_ if isinstance(value, Placed) else value


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an operation where its tensors are, or where it is told to make one."""
    tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
    tensors = [t for t in tensors if func not in _INDEXING or isinstance(t, Placed) or t.is_floating_point()]
    devices = {t.device for t in tensors if t.dim()}  # single numbers may be anywhere
    if len(devices) > 1 and func not in _MOVES:
        raise RuntimeError(f"{func} takes tensors of several devices, {sorted(map(str, devices))}")
    to = kwargs.get("device")
    out = func(*tree_map(plain, args), **tree_map(plain, kwargs | ({} if to is None else {"device": "cpu"})))
    if func._schema.is_mutable and func._schema.name.endswith("_"):
        return args[0]
    where = torch.device(to) if to is not None else next((t.device for t in tensors if t.dim()), None)
    where = where or next((t.device for t in tensors), torch.device("cpu"))
    return tree_map(lambda t: Placed(t, where) if isinstance(t, Tensor) and where.index else t, out)


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Constants(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        to = (kwargs or {}).get("device")
        made_here = func in (torch.tensor, torch.as_tensor) and to is not None and not isinstance(out, Placed)
        return Placed(out, torch.device(to)) if made_here and torch.device(to).index else out


@contextmanager
def two_devices() -> Iterator[None]:
    """Let tensors be made on, and moved to, `FIRST` and `SECOND`; without gradients."""
    with _Operations(), _Constants(), torch.no_grad(), mock.patch(_OUTSIDE, nullcontext):
        yield


def spread(model: Any) -> Any:
    """Place a model as accelerate does by a map over two GPUs: the first half of each stack's layers, and the rest."""
    backbone = model.base_model
    for stack in [backbone] if hasattr(backbone, "layers") else [backbone.encoder, backbone.decoder]:
        half = len(stack.layers) // 2
        for number, layer in enumerate(stack.layers):
            _place(layer, FIRST if number < half else SECOND)
        for name, module in stack.named_children():
            if name != "layers":
                _place(module, SECOND if name in ("norm", "computation", "pooler") else FIRST)
    for name, module in model.named_children():
        if name != model.base_model_prefix:
            _place(module, FIRST)
    return add_hook_to_module(model, AlignDevicesHook(FIRST, io_same_device=True))


def _place(module: nn.Module, device: torch.device) -> None:
    for one in module.modules():
        for kept in (one._parameters, one._buffers):
            for name, tensor in kept.items():
                if tensor is not None and not isinstance(tensor, Placed):
                    moved = Placed(tensor.data, device)
                    kept[name] = nn.Parameter(moved, False) if isinstance(tensor, nn.Parameter) else moved
        if one is module or one.state_dict():
            add_hook_to_module(one, AlignDevicesHook(device))
