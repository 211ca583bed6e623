"""Conditions on the numbers in a tensor: in eager mode, in compiled models and on the meta device."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from formers.ops.common.derivatives import is_transformed

Read = TypeVar("Read")
_FREE = frozenset({"cpu"})
"""Devices whose tensors are read without waiting for what was asked of the device before."""
_KNOWN: dict[int, tuple[weakref.ref[Tensor], dict[str, tuple[tuple[int, int], Any]]]] = {}
"""What has been read from tensors that are alive, by their `id`."""


def can_read(tensor: Tensor) -> bool:
    """Return whether a tensor's numbers can be looked at: not while compiling, and not on the meta device."""
    return not torch.compiler.is_compiling() and not tensor.is_meta


def is_free_to_read(tensor: Tensor) -> bool:
    """Return whether a tensor's numbers can be looked at at once: a GPU would have to finish all it was asked for."""
    return can_read(tensor) and tensor.device.type in _FREE


def read_once(tensor: Tensor, name: str, read: Callable[[Tensor], Read]) -> Read:
    """Return `read(tensor)`, read or made from its numbers: once for all layers of a model that ask by this name.

    It is read again when the tensor has been changed in place, as torch counts that: not through `.data`. What is read
    must not hold the tensor itself, and has no gradient.
    """
    version = _version_of(tensor)
    if version is None:
        return read(tensor)
    known = _known_of(tensor)
    entry = known.get(name)
    if entry is None or entry[0] != version:
        with torch.inference_mode(False), torch.no_grad():  # else checkpointing, which runs it again, misses a graph
            entry = known[name] = (version, read(tensor))
    found: Read = entry[1]
    return found


def read_together(reads: Sequence[tuple[Tensor, Callable[[Tensor], Any]]], name: str) -> None:
    """Read several tensors for later calls of `read_once` by a name, waiting for their device once.

    Those that are known already, that `read_once` would not remember, or of other dtypes or devices than the first, are
    left to it.
    """
    first, _ = reads[0]
    waiting = [
        (t, read)
        for t, read in {id(t): (t, read) for t, read in reads}.values()
        if (t.device, t.dtype) == (first.device, first.dtype)
        and can_read(t)
        and _version_of(t) is not None
        and told(t, name) is None
    ]
    if waiting:
        with torch.inference_mode(False), torch.no_grad():
            numbers = torch.cat([t.flatten() for t, _ in waiting]).cpu().split([t.numel() for t, _ in waiting])
        for (t, read), found in zip(waiting, numbers, strict=True):
            tell(t, name, read(found.view(t.shape)))


def tell(tensor: Tensor, name: str, value: Any) -> None:
    """Let `read_once` and `told` return a value by this name without reading, until the tensor changes."""
    version = _version_of(tensor)
    if version is not None:
        _known_of(tensor)[name] = (version, value)


def told(tensor: Tensor, name: str) -> Any:
    """Return what is known of a tensor by this name, None where nothing is: it is not read."""
    version = _version_of(tensor)
    entry = None if version is None else _known_of(tensor).get(name)
    return None if entry is None or entry[0] != version else entry[1]


def _version_of(tensor: Tensor) -> tuple[int, int] | None:
    """Return what is another after each change in place; None where numbers are not there, or changes not counted."""
    if torch.compiler.is_compiling() or is_transformed():
        return None
    if type(tensor) not in (Tensor, torch.nn.Parameter) or tensor.is_inference():
        return None
    return tensor._version, tensor.data_ptr()


def _known_of(tensor: Tensor) -> dict[str, tuple[tuple[int, int], Any]]:
    """Return what has been read from a tensor, with the tensor's version then, by name."""
    key = id(tensor)
    entry = _KNOWN.get(key)
    if entry is None or entry[0]() is not tensor:
        entry = _KNOWN[key] = (weakref.ref(tensor, lambda gone: _forget(key, gone)), {})
    return entry[1]


def _forget(key: int, gone: weakref.ref[Tensor]) -> None:
    entry = _KNOWN.get(key)
    if entry is not None and entry[0] is gone:
        del _KNOWN[key]


def require_data(holds: Tensor, error: Exception) -> None:
    """Raise the error unless all of `holds` is True; RuntimeError, when it runs, in a compiled or exported model.

    Looking waits for the device. Without data, on the meta device, there is nothing to raise for.
    """
    if can_read(holds):
        if not bool(holds.all()):
            raise error
    elif not holds.is_meta:
        torch._assert_async(holds.all(), error.args[0])
