"""Modules that share submodules across layers: the first layer owns them, later ones borrow them."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from formers.part import SharingModule, layers_share, share_across_layers


class _Table(SharingModule):
    def __init__(self, group: int):
        super().__init__()
        self.table, self.own = nn.Linear(2, 2), nn.Linear(2, 2)
        self.share("table", among=group)

    def forward(self, x: Tensor) -> Tensor:
        return self.own(self.table(x))


def test_later_layers_borrow_from_the_first_of_their_group() -> None:
    layers = nn.ModuleList(nn.Sequential(_Table(group)) for group in (0, 1, 0, 0))
    share_across_layers(layers)
    first, other, *later = (layer[0] for layer in layers)
    assert not first.borrows
    assert not other.borrows
    assert all(module.borrows and module.table is first.table for module in later)
    assert layers_share(layers)
    assert not layers_share([first, other])


def test_what_is_borrowed_is_saved_and_trained_once() -> None:
    layers = nn.ModuleList(_Table(0) for _ in range(3))
    share_across_layers(layers)
    assert [name for name in layers.state_dict() if "table" in name] == ["0.table.weight", "0.table.bias"]
    assert len(list(layers.parameters())) == 2 + 3 * 2
    sum(layer(torch.ones(2)).sum() for layer in layers).backward()
    assert layers[0].table.weight.grad is not None


def test_a_copy_shares_within_itself() -> None:
    layers = nn.ModuleList(_Table(0) for _ in range(2))
    share_across_layers(layers)
    again = copy.deepcopy(layers)
    assert again[1].table is again[0].table is not layers[0].table


def test_modules_that_declare_nothing_share_nothing() -> None:
    layers = [SharingModule(), SharingModule()]
    share_across_layers(layers)
    assert not layers_share(layers)
