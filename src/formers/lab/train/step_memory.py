"""The memory that training takes in tensors, measured in one step on a CPU: what a GPU's allocator counts by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from formers.bench.measuring.memory import peak_bytes

if TYPE_CHECKING:
    from torch.optim import Optimizer


class StepMemory:
    """Counts the most bytes of tensors alive at once in a training: weights, gradients, optimizer, and activations.

    One forward and backward pass is recorded, the first one that finds the optimizer's moments and ends a step, so
    that gradients of the batch's earlier parts are there, too. The profiler of torch records it, as in `formers bench`.

    Attributes:
        bytes: None until that pass, and on a GPU, whose allocator counts.
    """

    def __init__(self, model: nn.Module, device: str) -> None:
        self.bytes: int | None = None
        self._model, self._on_cpu = model, device == "cpu"

    def watch(self, run: Callable[[], Tensor], optimizer: Optimizer | None, ends_step: bool) -> Tensor:
        """Return `run()`, a forward and backward pass, and count its memory where it is the one to be measured."""
        if self.bytes is not None or not self._on_cpu or not ends_step or optimizer is None or not optimizer.state:
            return run()
        before = _distinct_bytes(self._kept(optimizer))
        results: list[Tensor] = []
        self.bytes = before + peak_bytes(lambda: results.append(run()))
        return results[0]

    def _kept(self, optimizer: Optimizer) -> Iterator[Any]:
        """Yield what is alive between two passes."""
        yield from self._model.buffers()
        for weight in self._model.parameters():
            yield from (weight, weight.grad)
        for moments in optimizer.state.values():
            yield from moments.values()


def _distinct_bytes(values: Iterator[Any]) -> int:
    """Return the bytes of tensors, each storage once; of one that is sharded over processes, those that are here."""
    local = (value.to_local() if isinstance(value, DTensor) else value for value in values)
    storages = [value.untyped_storage() for value in local if isinstance(value, torch.Tensor)]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())
