"""Comparing tensors so that a failure says what moved, where, and by how much."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

ROUNDING = 4096 * torch.finfo(torch.float64).eps
"""What rounding may move, relative to the largest value: a float64 sum of up to 4,096 terms in another order."""
_VANISHING = 1e-9
"""A tensor this much smaller than others beside it is zero in exact arithmetic, as is the gradient of a bias on a
softmax's keys. All of it is rounding, which is judged by what it is the rounding of."""
FELT = 1e-6
"""The least change, relative to the largest value, that counts as one where a change is expected."""


def assert_same(got: Tensor, want: Tensor, what: str, allowed: float | None = None) -> None:
    """Raise AssertionError where `got` differs from `want` by more than `allowed`, NaN and infinity included.

    Args:
        got, want: tensors of one shape.
        what: names the tensor in the message.
        allowed: the largest absolute difference; by default `ROUNDING` times the largest value of `want`.
    """
    assert got.shape == want.shape, f"{what} has shape {tuple(got.shape)}, but {tuple(want.shape)} was expected"
    if not want.numel():
        return
    assert torch.isfinite(want).all(), f"{what} was to be compared with values that are not finite"
    got, want = got.detach(), want.detach()
    if allowed is None:
        allowed = ROUNDING * float(want.abs().max())
    off = (got - want).abs()
    off = off.where(torch.isfinite(off), torch.inf)
    worst = float(off.max())
    if worst <= allowed:
        return
    where = tuple(int(i) for i in torch.unravel_index(off.argmax(), off.shape))
    raise AssertionError(
        f"{what} moved by {worst:.1e} at {where}: {float(got[where]):.6g} instead of {float(want[where]):.6g} "
        f"(at most {allowed:.1e} allowed)"
    )


def rounding_of(want: Tensor, largest: float) -> float:
    """Return what rounding may move in a tensor: of its own largest value; of `largest`, that of all tensors beside it,
    where it vanishes beside that."""
    size = float(want.abs().max())
    return ROUNDING * (size if size > _VANISHING * largest else largest)


def assert_zero(got: Tensor, what: str) -> None:
    """Raise AssertionError unless every value is exactly zero."""
    count = int((got != 0).sum()) + int(got.isnan().sum())
    assert count == 0, f"{what} is not zero: {count} of {got.numel()} values, up to {float(got.abs().max()):.1e}"


def assert_finite(got: Tensor, what: str) -> None:
    """Raise AssertionError unless every value is finite."""
    bad = ~torch.isfinite(got)
    assert not bad.any(), f"{what} has {int(bad.sum())} of {got.numel()} values that are not finite"


def within_reach(exact: Iterable[Tensor], dtype: torch.dtype) -> bool:
    """Return whether a dtype can hold exact results, and sums on the way to them: what lies beyond is not finite in it.

    Results that are not finite themselves have no such excuse.
    """
    reach = torch.finfo(dtype).max / 16
    return not any(reach < float(tensor.abs().max()) < math.inf for tensor in exact)


def moved(got: Tensor, want: Tensor) -> float:
    """Return the largest difference relative to the largest value of `want`; infinite where the shapes differ."""
    if got.shape != want.shape:
        return torch.inf
    got, want = got.detach(), want.detach()
    return float((got - want).abs().max()) / max(float(want.abs().max()), torch.finfo(want.dtype).tiny)
