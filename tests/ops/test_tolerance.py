"""The comparison must reject what is wrong and accept what is only rounded otherwise."""

from __future__ import annotations

import pytest
import torch

from formers.testing.tolerance import assert_close_derived


def plain(x, w):
    return (x @ w).softmax(-1)


def shaped(randn):
    return [randn(5, 7), randn(7, 6, seed=1)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_accepts_other_rounding(randn, dtype):
    assert_close_derived(lambda x, w: (w.mT @ x.mT).mT.softmax(-1), plain, shaped(randn), dtype=dtype)


FAULTS = {
    "zeros": lambda y: y * 0,
    "shifted": lambda y: y.roll(1, 0),
    "scaled": lambda y: y * 1.05,
    "one NaN": lambda y: y.masked_fill(torch.arange(30).view(5, 6) == 7, torch.nan),
    "no gradient": lambda y: y.detach() + 0 * y,
    "gradient scaled": lambda y: 1.05 * y - 0.05 * y.detach(),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_rejects(randn, fault):
    with pytest.raises(AssertionError, match="is off by"):
        assert_close_derived(lambda x, w: FAULTS[fault](plain(x, w)), plain, shaped(randn))


def test_rejects_other_shapes_and_missing_outputs(randn):
    with pytest.raises(AssertionError, match=r"output: \(5,\)"):
        assert_close_derived(lambda x, w: plain(x, w)[:, 0], plain, shaped(randn))
    with pytest.raises(AssertionError, match=r"fast gives"):
        assert_close_derived(lambda x, w: (plain(x, w), x), plain, shaped(randn))
