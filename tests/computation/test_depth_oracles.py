"""Oracles of depths, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from formers.computation import Correctness, DepthOracle, Likelihood
from formers.computation.depth_oracles import ExitScores

PROBABILITIES = torch.tensor([[[0.2, 0.6, 0.61], [0.5, 0.4, 0.3], [0.1, 0.1, 0.9]]], dtype=torch.float64)
"""Of the true token, for three tokens at three exits."""
BEST = torch.tensor([[[4, 7, 7], [7, 7, 4], [4, 4, 4]]])
"""The token that each exit prefers; 7 is the true one."""


def scores(counts: list[bool] | None = None) -> ExitScores:
    counts_bl = torch.tensor([counts or [True] * 3])
    return ExitScores(PROBABILITIES.log(), BEST, torch.full((1, 3), 7), counts_bl)


@pytest.mark.parametrize(
    ("oracle", "depths"),
    [
        (Likelihood(), [3, 1, 3]),
        (Likelihood(penalty=0.1), [2, 1, 3]),
        (Likelihood(penalty=2.0), [1, 1, 1]),
        (Correctness(), [2, 1, 1]),
        (Correctness(penalty=1.5), [1, 1, 1]),
        (Likelihood(smoothing=1e-3), [3, 1, 3]),
        (Likelihood(smoothing=100.0), [3, 3, 3]),
        (Correctness(smoothing=100.0), [2, 2, 2]),
    ],
    ids=str,
)
def test_depths_by_hand(oracle: DepthOracle, depths: list[int]) -> None:
    assert (oracle.token_depths(scores()) + 1).tolist() == [depths]


def test_smoothing_sums_the_neighbours_by_a_kernel() -> None:
    sigma, log_p = 1.3, torch.rand(40, 6, 4, generator=torch.Generator().manual_seed(0)).double().log()
    given = ExitScores(log_p, log_p.long(), torch.zeros(40, 6), torch.ones(40, 6, dtype=torch.bool))
    found = Likelihood(smoothing=sigma).token_depths(given)
    for t in range(6):
        want = sum(math.exp(-((t - other) ** 2) / sigma**2) * log_p[:, other] for other in range(6))
        assert torch.equal(found[:, t], want.argmax(-1))


def test_tokens_that_do_not_count_change_nothing() -> None:
    depths = Likelihood(smoothing=100.0).token_depths(scores([True, True, False]))
    assert (depths[0, :2] + 1).tolist() == [2, 2]  # the third, which would want exit 3, has no part
    assert Likelihood().sequence_depths(scores([True, False, False])).tolist() == [2]


def test_a_sequence_has_the_depth_of_the_mean() -> None:
    mean = PROBABILITIES.log().mean(1)[0]
    for penalty in (0.0, 0.5, 2.0):
        want = (mean - penalty * torch.arange(1, 4)).argmax()
        assert Likelihood(penalty=penalty).sequence_depths(scores()).tolist() == [want]


@pytest.mark.parametrize("name", ["penalty", "smoothing"])
def test_negative_options_raise(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be 0 or more"):
        Likelihood(**{name: -1.0})
