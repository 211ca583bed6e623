"""ALiBi against its paper, and against the slopes of Bloom and MPT."""

from __future__ import annotations

import pytest
import torch
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor

from formers.part import Site
from formers.positions import Alibi
from formers.positions.alibi import alibi_slopes
from formers.testing import assert_same


def test_slopes_of_eight_heads_are_the_papers() -> None:
    assert alibi_slopes(8) == [2.0**-h for h in range(1, 9)]


@pytest.mark.parametrize("heads", [1, 2, 3, 8, 12, 16, 20])
def test_slopes_are_blooms_and_mpts(heads: int) -> None:
    got = torch.tensor(alibi_slopes(heads), dtype=torch.float32)
    bloom = build_alibi_tensor(torch.ones(1, 2), heads, torch.float32)[:, 0, 1]  # slope · position 1
    assert_same(got, bloom, "slopes", 4 * torch.finfo(torch.float32).eps)
    mpt = -build_mpt_alibi_tensor(heads, 2)[:, 0, 0]  # the last but one key is one away
    assert_same(got, mpt.float(), "slopes", 4 * torch.finfo(torch.float32).eps)


def test_the_bias_is_minus_slope_times_distance() -> None:
    site = Site(width=24, heads=3, causal=False)
    queries, keys = torch.tensor([[4, 9]]), torch.tensor([[0, 4, 7], [1, 2, 3]])
    bias = Alibi().build(site)(queries, keys).rows(0, 2)
    assert bias.shape == (2, 3, 2, 3)
    for b in range(2):
        for h, slope in enumerate(alibi_slopes(3)):
            want = -slope * (queries[0][:, None] - keys[b]).abs().double()
            assert_same(bias[b, h].double(), want, "bias", 1e-6)
