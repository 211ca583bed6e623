"""Losses that modules add reach whoever collects them: once, in the right thread, with a gradient or an error."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from formers.part import Unsupported, add_loss, collect_losses, weighted_losses


class Costly(nn.Module):
    """Adds the square of its weight to the losses."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(3.0))

    def forward(self, x: Tensor) -> Tensor:
        add_loss("size", self.weight.square())
        return x * self.weight


class Head(nn.Module):
    def __init__(self, **checkpointing: bool) -> None:
        super().__init__()
        self.body, self.checkpointing = Costly(), checkpointing

    def forward(self, x: Tensor) -> Tensor:
        with collect_losses() as losses:
            y = checkpoint(self.body, x, **self.checkpointing) if self.checkpointing else self.body(x)
        total = losses.total()
        assert total is not None
        return y.sum() + total


X = torch.ones(2)


def test_nothing_happens_where_nobody_collects() -> None:
    assert torch.equal(Costly()(X), 3 * X)


def test_losses_add_up_by_name_and_in_all() -> None:
    with collect_losses() as losses:
        add_loss("a", torch.tensor(1.0))
        add_loss("b", torch.tensor(2.0, dtype=torch.bfloat16))
        add_loss("a", torch.tensor(4.0))
    assert losses.by_name() == {"a": 5.0, "b": 2.0}
    assert losses.total() == 7
    assert all(value.dtype == torch.float32 for value in losses.by_name().values())
    with collect_losses() as none:
        pass
    assert none.total() is None


def test_the_innermost_collector_gets_a_loss() -> None:
    with collect_losses() as outer:
        add_loss("a", torch.tensor(1.0))
        with collect_losses() as inner:
            add_loss("a", torch.tensor(2.0))
        with pytest.raises(ZeroDivisionError), collect_losses():
            1 / 0  # noqa: B018
        add_loss("a", torch.tensor(4.0))
    assert (outer.total(), inner.total()) == (5, 2)


def test_shares_multiply_and_end() -> None:
    with collect_losses() as losses:
        with weighted_losses(0.5), weighted_losses(0.5):
            add_loss("a", torch.tensor(8.0))
        add_loss("a", torch.tensor(1.0))
    assert losses.total() == 3


def test_each_thread_collects_its_own() -> None:
    with collect_losses() as losses, ThreadPoolExecutor(1) as pool:
        pool.submit(add_loss, "a", torch.tensor(1.0)).result()
    assert losses.total() is None


def test_checkpointed_layers_are_counted_once() -> None:
    plain, again = Head(), Head(use_reentrant=False)
    x = X.clone().requires_grad_()
    with collect_losses() as outside:  # open in the backward pass, too
        for head in (plain, again):
            head(x).backward()
    assert torch.equal(again.body.weight.grad, plain.body.weight.grad)
    assert outside.total() is None


def test_a_lost_gradient_raises() -> None:
    with pytest.raises(Unsupported, match=r"'size' would have no gradient.*use_reentrant=False"):
        Head(use_reentrant=True)(X.clone().requires_grad_())
    with torch.no_grad():
        assert Head()(X) == 15  # nobody wants gradients


def test_only_scalars_are_losses() -> None:
    with collect_losses(), pytest.raises(ValueError, match=r"'a' has shape \(2,\); expected a scalar"):
        add_loss("a", X)


def test_one_graph_compiles_it() -> None:
    torch.compiler.reset()
    head = Head()
    compiled = torch.compile(head, fullgraph=True, backend="aot_eager")
    assert compiled(X) == head(X)
    compiled(X).backward()
    assert head.body.weight.grad == 2 + 6
