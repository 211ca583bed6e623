"""Optimizer states by the names of weights, in one process; several are tried in test_fsdp.py."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from formers.lab.distributed.full_state import (
    full_optimizer_state,
    full_weights,
    load_full_optimizer_state,
    load_full_weights,
)


class Late(nn.Module):
    """A second projection that gets no gradient until it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.idle = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor, late: bool) -> Tensor:
        return self.used(x) + (self.idle(x) if late else 0)


def step(model: Late, optimizer: torch.optim.Optimizer, late: bool) -> None:
    optimizer.zero_grad()
    model(torch.ones(2, 3), late).square().mean().backward()
    optimizer.step()


def made(seed: int) -> tuple[Late, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    model = Late()
    return model, torch.optim.AdamW(model.parameters(), lr=0.1)


def test_a_weight_without_a_gradient_so_far_goes_on_as_it_would_have() -> None:
    model, optimizer = made(0)
    for _ in range(2):
        step(model, optimizer, late=False)
    kept = copy.deepcopy((full_weights(model), full_optimizer_state(model, optimizer)))
    resumed, its_optimizer = made(1)
    load_full_weights(resumed, kept[0])
    load_full_optimizer_state(resumed, its_optimizer, kept[1])
    for late in (False, True, True):
        step(model, optimizer, late)
        step(resumed, its_optimizer, late)
    for one, other in zip(model.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)
