"""Means and counts over many tokens in half types: sums beyond 65,504, and counts beyond what their digits tell."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from formers import SequenceClassifier, TransformerConfig
from formers.memory.reconstruction import _mean_square
from formers.mixers.centroids import Centroids
from formers.mixers.length_projection import LengthProjection
from formers.testing.compare import assert_same

HALVES = [torch.float16, torch.bfloat16]


def tokens(rows: int, length: int, width: int, dtype: torch.dtype) -> Tensor:
    """Return numbers around 8, whose sum over 16,000 is beyond float16."""
    return (8 + torch.randn(rows, length, width, generator=torch.Generator().manual_seed(0))).to(dtype)


def rounding(dtype: torch.dtype, size: float) -> float:
    return torch.finfo(dtype).eps * size


@pytest.mark.parametrize("dtype", HALVES)
def test_a_classifier_takes_the_mean_of_long_masked_texts(dtype: torch.dtype) -> None:
    config = TransformerConfig(vocab_size=20, width=8, depth=1, heads=2, causal=False, num_labels=2)
    hidden, mask = tokens(2, 16_001, 8, dtype), torch.ones(2, 16_001, dtype=torch.long)
    mask[1, 1_003:] = 0
    got = SequenceClassifier(config).pool(hidden, mask)
    assert got.dtype == dtype
    want = torch.stack([hidden[0].double().mean(0), hidden[1, :1_003].double().mean(0)])
    assert_same(got.double(), want, "the mean", rounding(dtype, 8))


@pytest.mark.parametrize("dtype", HALVES)
def test_projections_along_the_length_take_the_mean_of_long_windows(dtype: torch.dtype) -> None:
    x = tokens(1, 20_000, 4, dtype)[:, None]
    got = LengthProjection("mean", 1, 2, 20_000, 4)(x, None)
    want = x.double().unflatten(2, (2, 10_000)).mean(3)
    assert got.dtype == dtype
    assert_same(got.double(), want, "the mean", rounding(dtype, 8))


@pytest.mark.parametrize("dtype", HALVES)
def test_squares_of_half_types_are_averaged_in_float32(dtype: torch.dtype) -> None:
    x, mask = 40 * tokens(1, 3_001, 4, dtype), torch.ones(1, 3_001, dtype=torch.bool)
    mask[0, 2_900:] = False
    for hidden, rows in ((None, x), (mask, x[:, :2_900])):
        assert_same(
            _mean_square(x, hidden).double(),
            rows.double().square().mean(),
            "the mean square",
            rounding(torch.float32, 1e6),
        )


@pytest.mark.parametrize("dtype", HALVES)
def test_centroids_of_half_types_are_the_mean_of_many_vectors(dtype: torch.dtype) -> None:
    found: Any = []
    x = tokens(1, 70_001, 4, dtype)[:, None]
    for kind in (torch.float32, dtype):
        torch.manual_seed(0)
        centroids = Centroids(1, 2, 4, 0.9)
        centroids.mu_hck.copy_(centroids.mu_hck.to(dtype))
        centroids = centroids.to(kind)
        centroids.move_towards(x, None)
        found.append(centroids.mu_hck.double())
    assert_same(found[1], found[0], "centroids", rounding(dtype, 1))
