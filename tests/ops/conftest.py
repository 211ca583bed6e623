"""Inputs that the tests of the ops share."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def randn():
    """Draws from a normal distribution, float64; the same shape and seed give the same numbers."""

    def draw(*shape, seed=0):
        return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))

    return draw


@pytest.fixture
def rand(randn):
    """Positive features."""
    return lambda *shape, seed=0: randn(*shape, seed=seed).sigmoid()


@pytest.fixture
def padding():
    """Masks that are True where a token is real: some masked on the left, on the right, in between, or a whole row."""

    def mask(kind, batch, length):
        if kind is None:
            return None
        at = torch.arange(length)
        hidden = {
            "left": lambda row: at <= row,
            "right": lambda row: at >= length - 1 - row,
            "interior": lambda row: at % 3 == (row + 1) % 3,
            "row": lambda row: torch.full((length,), row == 0),
        }[kind]
        return torch.stack([~hidden(row) for row in range(batch)])

    return mask


@pytest.fixture
def poison():
    """Puts NaN, infinities and huge numbers where the mask is False, along an axis of the tensor."""

    def fill(t, mask, axis):
        if mask is None:
            return t
        shape = [1] * t.dim()
        shape[0], shape[axis] = mask.shape
        bad = torch.tensor([float("nan"), float("inf"), 1e30], dtype=t.dtype)
        bad = bad.repeat(-(-t.shape[-1] // 3))[: t.shape[-1]]
        return torch.where(mask.view(shape), t, bad)

    return fill
