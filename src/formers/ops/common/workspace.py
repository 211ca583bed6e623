"""Memory that tiles use one after the other, and the devices on which kernels work tile by tile."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def should_tile(t: Tensor) -> bool:
    """Return True where a kernel should work tile by tile, each small enough for the cache.

    That is on a CPU; other devices gain nothing from it, and a compiler plans its own tiles.
    """
    return t.device.type == "cpu" and not torch.compiler.is_compiling()


class Workspace:
    """Named buffers that tiles use one after the other, as the `out=` of operations.

    On a CPU fresh memory costs as much as a pass over it. Other devices keep freed memory themselves; there, and where
    autograd keeps what is computed, a workspace is disabled and gives None, so that operations allocate.

    Args:
        like: a tensor on the device.
        dtype: of the buffers.
        enabled: False gives None everywhere.
    """

    def __init__(self, like: Tensor, dtype: torch.dtype, enabled: bool = True):
        self.enabled = enabled and like.device.type == "cpu"
        self._like, self._dtype = like, dtype
        self._buffers: dict[str, Tensor] = {}

    def out(self, name: str, *shape: int) -> Tensor | None:
        """Return the buffer of that name for `out=`, whatever it held before; None where disabled."""
        if not self.enabled:
            return None
        size = math.prod(shape)
        if name not in self._buffers or self._buffers[name].numel() < size:
            self._buffers[name] = self._like.new_empty(size, dtype=self._dtype)
        return self._buffers[name][:size].view(shape)

    def empty(self, name: str, *shape: int) -> Tensor:
        """Return the buffer of that name, or fresh memory where disabled."""
        buffer = self.out(name, *shape)
        return self._like.new_empty(shape, dtype=self._dtype) if buffer is None else buffer

    def reuse(self, t: Tensor) -> Tensor | None:
        """Return a tensor that is not needed any more, to be overwritten as `out=`; None where disabled."""
        return t if self.enabled else None
