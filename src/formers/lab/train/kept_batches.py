"""Batches kept in memory for the next arm: all arms of a study train on the same examples in the same order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch.utils.data import Dataset

from formers.tasks.stacked import StackedExamples
from formers.tasks.task import Example

if TYPE_CHECKING:
    from formers.lab.train.job import Job
    from formers.tasks.checks.examples import CheckedExamples

_MOST = 128 << 20
"""Bytes that are kept in a process, at most: what comes after them is made anew for each arm."""


@dataclass
class _Kept:
    """The batches of one data set.

    Attributes:
        identity: what the examples depend on: task, data, seed.
        batches: first number, number of examples → the batch.
        bytes: of all of them.
    """

    identity: tuple[object, ...] = ()
    batches: dict[tuple[int, int], StackedExamples] = field(default_factory=dict)
    bytes: int = 0


_kept = _Kept()


def forget_batches() -> None:
    """Keep nothing any more."""
    global _kept
    _kept = _Kept()


class KeptBatches(Dataset[Example]):
    """The examples of a job, of which batches that an earlier job in this process has made are not made again.

    Example i of a task is a function of the seed and i, so that nothing else than time depends on it. Batches of one
    data set are kept, up to 128 MiB; a job with another one begins anew.
    """

    def __init__(self, job: Job, data: CheckedExamples) -> None:
        global _kept
        self.data = data
        task = job.task.task
        rows = job.budget.batch_size if task.is_contiguous else 0
        identity = (str(task), job.task.data_hash, task.reading_hash, task.code_hash, job.seed, rows)
        if _kept.identity != identity:
            _kept = _Kept(identity)
        self._kept = _kept

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Example:
        return self.data[index]

    def __getitems__(self, indices: Sequence[int]) -> StackedExamples:
        """Return the examples of a batch."""
        first, count = indices[0], len(indices)
        if [*indices] != [*range(first, first + count)]:
            return _stacked(self.data.__getitems__(indices))
        found = self._kept.batches.get((first, count))
        if found is None:
            found = _stacked(self.data.__getitems__(indices))
            self._keep((first, count), found)
        return found

    def _keep(self, key: tuple[int, int], batch: StackedExamples) -> None:
        """Keep a batch where there is room for it, in memory of its own."""
        size = sum({id(tensor): tensor.nbytes for tensor in batch.tensors.values()}.values())
        if self._kept.bytes + size <= _MOST:
            self._kept.batches[key] = batch.copy()
            self._kept.bytes += size


def _stacked(examples: Sequence[Example] | StackedExamples) -> StackedExamples:
    if isinstance(examples, StackedExamples):
        return examples
    return StackedExamples({name: torch.stack([example[name] for example in examples]) for name in examples[0]})
