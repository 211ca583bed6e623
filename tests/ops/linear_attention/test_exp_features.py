"""Exponential features against their formula."""

import pytest
import torch

from formers.ops import exp_features
from formers.ops.linear_attention import exp_features_tiled
from formers.testing.tolerance import assert_close_derived


def given() -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(2, 3, 1100, 5, dtype=torch.float64), torch.randn(7, 5, dtype=torch.float64)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_with_a_shift(dtype):
    x, w = given()
    assert_close_derived(
        lambda x, w, c: exp_features(x, w, c),
        lambda x, w, c: exp_features(x, w, c, impl="naive"),
        [x, w, torch.randn(2, 3, 1100)],
        dtype=dtype,
        names=["x", "w", "shift"],
    )


def test_pieces_change_nothing(monkeypatch):
    x, w = given()
    whole = exp_features(x, w)
    monkeypatch.setattr(exp_features_tiled, "NUMBERS_AT_ONCE", 100)
    assert_close_derived(exp_features, lambda x, w: exp_features(x, w, impl="naive"), [x, w], names=["x", "w"])
    assert torch.equal(exp_features(x, w).amax(-1), torch.ones(2, 3, 1100, dtype=torch.float64))
    torch.testing.assert_close(exp_features(x, w), whole)


def test_large_exponents_stay_finite():
    x, w = given()
    assert exp_features(x * 1e4, w).isfinite().all()
