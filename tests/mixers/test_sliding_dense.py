from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from formers.mixers import Dense, SlidingDense
from formers.part import Site, Unsupported
from formers.testing.tolerance import assert_close_derived

WIDTH, HEADS = 12, 3


def built(window: int, **options: Any) -> Any:
    part = SlidingDense(window=window, heads=HEADS)
    module = part.build(Site(width=WIDTH, heads=2, causal=True, context_length=64, **options))
    module.init_weights(0.1)
    return module


@pytest.mark.parametrize(("window", "length"), [(1, 5), (4, 3), (4, 13), (7, 14), (40, 9)])
def test_the_formula(window: int, length: int) -> None:
    module = built(window)
    x, weight = torch.randn(2, length, WIDTH), module.q_proj.weight.detach()

    def plain(x: Tensor, weight: Tensor) -> Tensor:
        q, x_h = ((t).unflatten(-1, (HEADS, -1)).transpose(1, 2) for t in (x @ weight.mT, x))
        i = torch.arange(length)
        seen = (i[:, None] >= i) & (i[:, None] - i < window)
        return ((q @ x_h.mT * seen) @ x_h / window).transpose(1, 2).flatten(2)

    def fast(x: Tensor, weight: Tensor) -> Tensor:
        return torch.func.functional_call(module, {"q_proj.weight": weight}, (x,))[0]

    assert_close_derived(fast, plain, [x, weight])


def test_a_window_over_everything_is_dense_but_for_the_count() -> None:
    sliding, dense = built(16), Dense(heads=HEADS).build(Site(width=WIDTH, heads=2, causal=True, context_length=64))
    dense.load_state_dict(sliding.state_dict())
    x = torch.randn(2, 16, WIDTH)
    count = torch.arange(1, 17)[:, None]
    torch.testing.assert_close(sliding(x)[0] * 16, dense(x)[0] * count)


def test_the_state_has_the_size_of_the_window() -> None:
    module = built(8)
    sizes = {module(torch.randn(1, length, WIDTH))[1].nbytes for length in (1, 8, 50)}
    assert len(sizes) == 1


def test_both_directions_have_another_part() -> None:
    with pytest.raises(Unsupported, match="local_dense"):
        SlidingDense().build(Site(width=WIDTH, heads=2, causal=False, context_length=64))
