"""Law 10: two ranks train as one.

Two processes with half of a batch each take the same steps as one with all of it, and every parameter takes part.

Inputs: two training steps of a batch of four rows, over gloo; for the part that each parameter has, 77 tokens and 4.

Exempt: parts without parameters. Processes are slow to start: tried only when slow laws are asked for.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributed import destroy_process_group, init_process_group
from torch.multiprocessing.spawn import start_processes
from torch.nn.parallel import DistributedDataParallel

from formers.part import Part, Site
from formers.testing.compare import assert_same
from formers.testing.harness import LENGTH, SITE, build, directions, tokens

_FEW = 4
"""Tokens at the beginning of a text, when there is nothing in a memory yet."""


def every_parameter_trains(part: Part, site: Site = SITE) -> None:
    """Every parameter takes part in the loss: with one that does not, distributed training stops."""
    for causal in directions(part):
        module = build(part, causal=causal, site=site).train()
        if not any(True for _ in module.parameters()):
            continue
        for length in (LENGTH, _FEW):
            module.zero_grad()
            _loss(module, tokens(length=length, width=site.width)).backward()
            idle = [name for name, p in module.named_parameters() if p.grad is None]
            assert not idle, f"{part}, {length} tokens: no gradient reaches {', '.join(idle)}"


def two_ranks_equal_one(part: Part, site: Site = SITE) -> None:
    """Two processes with half of the batch each take the same training steps as one with the whole batch. Slow:
    seconds."""
    two_ranks_equal_one_for([part], site)


def two_ranks_equal_one_for(parts: Sequence[Part], site: Site = SITE) -> None:
    """The same for several parts, in one pair of processes."""
    start_processes(_rank, args=(free_port(), list(parts), site), nprocs=2, start_method=_how_to_start())


def _how_to_start() -> str:
    """Return how processes start: forked from one that has imported what they need, once for both, where that is safe.

    A fork of one that has asked for a GPU is not.
    """
    if sys.platform != "linux" or torch.accelerator.is_available():
        return "spawn"
    multiprocessing.set_forkserver_preload([__name__])
    return "forkserver"


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def _rank(index: int, port: int, parts: list[Part], site: Site) -> None:
    """Train in one of the processes. An `AssertionError` here arrives at whoever spawned it."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    init_process_group("gloo", rank=index, world_size=2)
    try:
        for part in parts:
            for causal in directions(part):
                _steps_agree(part, causal, site, index)
    finally:
        destroy_process_group()


def _steps_agree(part: Part, causal: bool, site: Site, index: int) -> None:
    alone, shared = (build(part, causal=causal, site=site).train() for _ in range(2))
    if not any(p.requires_grad for p in alone.parameters()):
        return
    x = tokens(4, width=site.width)
    parallel = DistributedDataParallel(shared)
    for step in range(2):  # an unused parameter stops the second step
        for model, rows in ((alone, x), (parallel, x[2 * index : 2 * index + 2])):
            torch.manual_seed(step)  # what is drawn for all rows is the same for both
            _train_step(model, rows)
    for (name, want), got in zip(alone.named_parameters(), shared.parameters(), strict=True):
        assert_same(got, want, f"{part}: {name} after two steps on two ranks")


def _train_step(module: nn.Module, x: Tensor) -> None:
    module.zero_grad()
    _loss(module, x).backward()
    with torch.no_grad():
        for parameter in module.parameters():
            assert parameter.grad is not None
            parameter.sub_(parameter.grad, alpha=0.1)


def _loss(module: nn.Module, x: Tensor) -> Tensor:
    return module(x)[0].square().mean()
