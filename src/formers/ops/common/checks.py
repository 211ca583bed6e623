"""Checks of an op's inputs. Every message says what was given, what was expected, and what to do."""

from __future__ import annotations

import torch
from torch import Tensor


def sizes(**axes_of: tuple[Tensor, str]) -> dict[str, int]:
    """Return the size of every named axis, e.g. `sizes(q=(q, "BHLK"), k=(k, "BHSK"))["S"]`.

    A lower-case letter names an axis of its own for that tensor; a capital must be the same in every tensor.
    Raise ValueError for a wrong number of axes or for sizes that differ.
    """
    found: dict[str, int] = {}
    for name, (tensor, axes) in axes_of.items():
        if tensor.dim() != len(axes):
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}; expected {len(axes)} axes ({', '.join(axes)})")
        for axis, size in zip(axes, tensor.shape, strict=True):
            if axis not in found:
                if axis.isupper():
                    found[axis] = size
            elif found[axis] != size:
                shapes = "; ".join(f"{n} ({', '.join(a)}) is {tuple(t.shape)}" for n, (t, a) in axes_of.items())
                raise ValueError(f"{name} has size {size} on axis {axis}, but {found[axis]} was expected: {shapes}")
    return found


def same_dtype(**tensors: Tensor) -> None:
    """Raise ValueError unless all tensors are floating point and of one dtype."""
    first = next(iter(tensors.values())).dtype
    for tensor in tensors.values():  # a loop, as every layer asks at every step
        if tensor.dtype != first or not first.is_floating_point:
            given = ", ".join(f"{name} {t.dtype}" for name, t in tensors.items())
            raise ValueError(
                f"expected one floating-point dtype for all, but got {given}; convert them with .to(dtype)"
            )


def mask(name: str, given: Tensor | None, batch: int, length: int) -> None:
    """Raise ValueError unless a mask is None or bool (batch, length), True where the token is real."""
    if given is None:
        return
    if given.dtype != torch.bool:
        raise ValueError(
            f"{name} has dtype {given.dtype}; expected torch.bool, True where the token is real: {name} > 0"
        )
    if tuple(given.shape) != (batch, length):
        raise ValueError(f"{name} has shape {tuple(given.shape)}; expected (batch, length) = {(batch, length)}")


def groups(heads: int, kv_heads: int) -> int:
    """Return how many query heads share one key/value head. Raise ValueError where they cannot share evenly."""
    if heads % kv_heads:
        raise ValueError(f"{heads} query heads cannot share {kv_heads} key/value heads; use a divisor of {heads}")
    return heads // kv_heads
