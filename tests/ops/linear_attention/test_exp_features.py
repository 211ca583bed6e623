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


@pytest.mark.parametrize("shifted", [True, False])
def test_features_in_half_precision_are_rounded_at_the_end(shifted):
    x, w = (t.float().requires_grad_() for t in given())
    shift = torch.randn(2, 3, 1100, requires_grad=True) if shifted else None
    found, wanted = (exp_features(x, w, shift, dtype=dtype) for dtype in (torch.bfloat16, None))
    assert torch.equal(found, wanted.bfloat16())
    inputs = [x, shift] if shifted else [x]
    gradients = [torch.autograd.grad((y.float() * wanted.detach().cos()).sum(), inputs) for y in (found, wanted)]
    for half, wide in zip(*gradients, strict=True):
        torch.testing.assert_close(half, wide, rtol=0.02, atol=0.02 * float(wide.abs().max()))


def test_pieces_change_nothing(monkeypatch):
    x, w = given()
    whole = exp_features(x, w)
    monkeypatch.setattr(exp_features_tiled, "NUMBERS_AT_ONCE", 100)
    assert_close_derived(exp_features, lambda x, w: exp_features(x, w, impl="naive"), [x, w], names=["x", "w"])
    assert torch.equal(exp_features(x, w).amax(-1), torch.ones(2, 3, 1100, dtype=torch.float64))
    torch.testing.assert_close(exp_features(x, w), whole)


def test_queries_and_keys_compile_together_for_any_size():
    """Two of these in a graph whose sizes are all open: one function of autograd each, dynamo could not trace."""
    torch.compiler.reset()

    def similarities(q, k, w, c):
        return exp_features(q, w) @ exp_features(k, w, c).mT

    compiled = torch.compile(similarities, fullgraph=True, backend="eager", dynamic=True)
    for length in (70, 130):
        q, k = torch.randn(2, 2, 3, length, 5, dtype=torch.float64).unbind()
        rest = (given()[1], torch.randn(2, 3, length, dtype=torch.float64))
        inputs = [q.requires_grad_(), k.requires_grad_()]
        found, wanted = compiled(*inputs, *rest), similarities(*inputs, *rest)
        torch.testing.assert_close(found, wanted)
        torch.testing.assert_close(*(torch.autograd.grad(y.sum(), inputs) for y in (found, wanted)))


def test_large_exponents_stay_finite():
    x, w = given()
    assert exp_features(x * 1e4, w).isfinite().all()
