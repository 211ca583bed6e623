"""Examples held as one tensor for each name: a batch that is made, checked and handed on as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from formers.tasks.task import Example


class StackedExamples:
    """B examples as tensors (B, …) by name.

    A data set may return one from `__getitems__` in the place of a list: what the examples have in common is then
    checked once, and nothing is left to stack. Names may share a tensor, as labels of a language model do with its
    tokens.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = dict(tensors)

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values()))) if self.tensors else 0

    def __getitem__(self, index: int) -> Example:
        rows = {id(tensor): tensor[index] for tensor in self.tensors.values()}  # a shared tensor stays shared
        return {name: rows[id(tensor)] for name, tensor in self.tensors.items()}

    def copy(self) -> StackedExamples:
        """Return the same examples in memory of their own."""
        copies = {id(tensor): tensor.clone() for tensor in self.tensors.values()}
        return StackedExamples({name: copies[id(tensor)] for name, tensor in self.tensors.items()})

    def __iter__(self) -> Iterator[Example]:
        return (self[index] for index in range(len(self)))
