"""Conditions on the numbers in a tensor."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from formers.ops import can_read, check_lengths, require_data


def _short(length_b: Tensor) -> Tensor:
    check_lengths(length_b, 4, "this")
    return length_b + 1


def _positive(length_b: Tensor) -> Tensor:
    require_data(length_b > 0, ValueError("must be positive"))
    return length_b + 1


CONDITIONS = [(_short, [3, 4], [3, 5], "up to 4 tokens"), (_positive, [1, 2], [1, 0], "must be positive")]


@pytest.mark.parametrize(("run", "right", "wrong", "message"), CONDITIONS, ids=["check_lengths", "require_data"])
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_numbers_that_do_not_hold_raise(
    run: Callable[[Tensor], Tensor], right: list[int], wrong: list[int], message: str, compiled: bool
) -> None:
    kind = RuntimeError if compiled else ValueError
    called = torch.compile(run, backend="aot_eager", fullgraph=True) if compiled else run
    assert called(torch.tensor(right)).tolist() == [n + 1 for n in right]
    with pytest.raises(kind, match=message):
        called(torch.tensor(wrong))
    assert called(torch.tensor(wrong[:0], dtype=torch.long)).tolist() == []


@pytest.mark.parametrize("run", [_short, _positive])
def test_without_data_there_is_nothing_to_raise_for(run: Callable[[Tensor], Tensor]) -> None:
    nothing = torch.zeros(3, device="meta")
    assert not can_read(nothing)
    assert run(nothing).is_meta
