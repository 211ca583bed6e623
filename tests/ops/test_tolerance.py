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


def single_key(q, k, v):
    """Attention to one key, whose weight is 1: no query has a gradient, and no naive form gives one."""
    return (q @ k.mT).softmax(-1) @ v


def test_what_vanishes_is_judged_by_what_it_is_the_rounding_of(randn):
    given = [randn(4, 1, 6), randn(4, 1, 6, seed=1), randn(4, 1, 6, seed=2)]
    for units, right in ((0.5, True), (50, False)):
        rounding = units * torch.finfo(torch.float32).eps

        def fast(q, k, v, rounding=rounding):
            return single_key(q, k, v) + (rounding * (q - q.detach()) if q.dtype == torch.float32 else 0)

        if right:
            assert_close_derived(fast, single_key, given)
        else:
            with pytest.raises(AssertionError, match="input 0 is off by"):
                assert_close_derived(fast, single_key, given)


@pytest.mark.parametrize(("off", "right"), [(1e-7, True), (1e-4, False)])
def test_one_lucky_draw_of_the_naive_form_does_not_judge(randn, off, right):
    """A sum of 4,096 numbers in float32, whose plain form happens to be exact for the first inputs that it is given."""
    given, calls = [randn(4096)], list[int]()

    def plain(x):
        calls.append(1)
        return x.double().sum()[None] if len(calls) <= 2 else x.cumsum(0)[-1:]

    def fast(x):
        return x.cumsum(0)[-1:] * (1 + off) + (1e-4 if len(calls) <= 2 else 0)

    if right:
        assert_close_derived(fast, plain, given, gradients=False)
    else:
        with pytest.raises(AssertionError, match="output is off by"):
            assert_close_derived(fast, plain, given, gradients=False)
    assert len(calls) > 2


def test_rejects_other_shapes_and_missing_outputs(randn):
    with pytest.raises(AssertionError, match=r"output: \(5,\)"):
        assert_close_derived(lambda x, w: plain(x, w)[:, 0], plain, shaped(randn))
    with pytest.raises(AssertionError, match=r"fast gives"):
        assert_close_derived(lambda x, w: (plain(x, w), x), plain, shaped(randn))
