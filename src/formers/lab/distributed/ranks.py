"""Ranks: processes that train one model together, as `torchrun` starts them. Each holds the model and a share of every batch.

In a program that was not started so there is one rank, and everything here costs nothing.
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

_PATIENCE = timedelta(days=1)  # one rank evaluates and saves while the others wait; torchrun notices when one has died
_MEETING = timedelta(seconds=60)  # how long a rank that failed waits for the others to fail, too

_T = TypeVar("_T")


class LostRank(RuntimeError):
    """One of the processes that train a model together failed or was lost, and the others cannot go on without it."""


def world_size() -> int:
    """How many ranks there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Which of them this process is, from 0."""
    return int(os.environ.get("RANK", "0"))


def is_rank0() -> bool:
    """Whether this is the rank that keeps rows, models and reports, and speaks."""
    return rank() == 0


def described(sharded: bool) -> str:
    """How many ranks there are, and whether the model is spread over them: `2`, or `2 (sharded)`."""
    return f"{world_size()} (sharded)" if sharded else str(world_size())


def launcher() -> list[str]:
    """The words that start this program in as many processes as now: `formers`, or `torchrun … -m formers`."""
    if world_size() == 1:
        return ["formers"]
    here = int(os.environ.get("LOCAL_WORLD_SIZE", world_size()))
    nodes = ["--nnodes", str(world_size() // here)] if world_size() > here else []
    return ["torchrun", *nodes, "--nproc-per-node", str(here), "-m", "formers"]


def share(batch_size: int) -> int:
    """How much of a batch each rank takes. Raises `ValueError` where it does not divide."""
    if batch_size % world_size():
        raise ValueError(
            f"batches of {batch_size} do not divide over {world_size()} processes; choose a multiple: --batch"
        )
    return batch_size // world_size()


@contextmanager
def joined() -> Iterator[None]:
    """Connects the ranks while the block runs: NCCL between GPUs, gloo between CPUs."""
    if world_size() == 1:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=_PATIENCE)
    try:
        _control()
        yield
    finally:
        _control.cache_clear()
        distributed.destroy_process_group()


@lru_cache(maxsize=1)
def _control() -> Any:
    """A group beside the one that gradients travel on, for what ranks say to each other."""
    return distributed.new_group(backend="gloo", timeout=_PATIENCE)


def broadcast_from_rank0(value: _T) -> _T:
    """The first rank's value, on every rank. All have to ask at the same point."""
    if world_size() == 1:
        return value
    values = [value]
    distributed.broadcast_object_list(values, src=0, group=_control(), device=torch.device("cpu"))
    return values[0]


def anyone(flag: bool) -> bool:
    """Whether the flag is up on any rank. All have to ask at the same point."""
    if world_size() == 1:
        return flag
    flags = torch.tensor(int(flag))
    distributed.all_reduce(flags, distributed.ReduceOp.MAX, group=_control())
    return bool(flags.item())


@contextmanager
def fail_together() -> Iterator[None]:
    """A block that all ranks run. Where it fails on each, as with an arm that no machine can train, the error goes on.

    Raises:
        LostRank: where it fails on some of them only.
    """
    try:
        yield
    except Exception as error:
        if not _all_failed():
            raise LostRank(
                f"rank {rank()} of {world_size()} cannot go on: {type(error).__name__}: {error}\n"
                "The last checkpoint is kept; the same command goes on from it."
            ) from error
        raise


def _all_failed() -> bool:
    """Whether every rank asks this, within a minute."""
    if world_size() == 1:
        return True
    try:
        distributed.monitored_barrier(_control(), timeout=_MEETING)
    except RuntimeError:
        return False
    return True
