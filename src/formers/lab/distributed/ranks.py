"""Ranks: processes that train one model together, as `torchrun` starts them. Each takes a share of every batch.

In a program that was not started by it there is one rank, and everything here costs nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from typing import Any, TypeVar

import torch
from torch import distributed

_TIMEOUT = timedelta(days=1)  # one rank evaluates and saves while the others wait; torchrun notices when one has died
_FAILURE_TIMEOUT = timedelta(seconds=60)  # how long a rank that failed waits for the others to fail, too

_T = TypeVar("_T")


class LostRank(RuntimeError):
    """One of the processes that train a model together failed or was lost, and the others cannot go on without it."""


def world_size() -> int:
    """Return the number of ranks."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Return the number of this process among the ranks, from 0."""
    return int(os.environ.get("RANK", "0"))


def is_rank0() -> bool:
    """Return whether this is the rank that keeps rows, models and reports, and prints."""
    return rank() == 0


def describe_ranks(sharded: bool) -> str:
    """Return how many ranks there are, and whether the model is sharded over them: `2`, or `2 (sharded)`."""
    return f"{world_size()} (sharded)" if sharded else str(world_size())


def local_batch_size(batch_size: int, parts: int = 1) -> int:
    """Return each rank's share of each part of a batch. Raise ValueError where the batch does not divide."""
    if batch_size % (world_size() * parts):
        cut = f", each in {parts} parts" if parts > 1 else ""
        raise ValueError(
            f"batches of {batch_size} do not divide over {world_size()} processes{cut}; choose a multiple: --batch"
        )
    return batch_size // (world_size() * parts)


@contextmanager
def process_group() -> Iterator[None]:
    """Connect the ranks while the block runs: NCCL between GPUs, gloo between CPUs."""
    if world_size() == 1:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=_TIMEOUT)
    try:
        _control_group()
        yield
    finally:
        _control_group.cache_clear()
        distributed.destroy_process_group()


@lru_cache(maxsize=1)
def _control_group() -> Any:
    """Return a group beside the one that gradients travel on, for messages between ranks."""
    return distributed.new_group(backend="gloo", timeout=_TIMEOUT)


def broadcast_from_rank0(value: _T) -> _T:
    """Return rank 0's value, on every rank. All ranks have to call this at the same point."""
    if world_size() == 1:
        return value
    values = [value]
    distributed.broadcast_object_list(values, src=0, group=_control_group(), device=torch.device("cpu"))
    return values[0]


def any_rank(flag: bool) -> bool:
    """Return whether the flag is true on any rank. All ranks have to call this at the same point."""
    if world_size() == 1:
        return flag
    flags = torch.tensor(int(flag))
    distributed.all_reduce(flags, distributed.ReduceOp.MAX, group=_control_group())
    return bool(flags.item())


@contextmanager
def fail_together() -> Iterator[None]:
    """Run a block on all ranks. Where it fails on each, as with an arm that no machine can train, raise the error.

    Raises:
        LostRank: where it fails on some of them only.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        if not _all_failed():
            raise LostRank(
                f"rank {rank()} of {world_size()} cannot go on: {type(error).__name__}: {error}\n"
                "The last checkpoint is kept; the same command goes on from it."
            ) from error
        raise


def _all_failed() -> bool:
    """Return whether every rank calls this within a minute."""
    if world_size() == 1:
        return True
    try:
        distributed.monitored_barrier(_control_group(), timeout=_FAILURE_TIMEOUT)
    except RuntimeError:
        return False
    return True
