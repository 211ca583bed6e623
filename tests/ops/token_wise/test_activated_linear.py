"""A linear layer with its activation: one kernel against two."""

from __future__ import annotations

import pytest
import torch

from formers.ops import activated_linear
from formers.testing.tolerance import assert_close_derived


def relu_of(impl: str):
    return lambda x, w, b=None: activated_linear(x, w, b, "relu", impl=impl)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("biased", [True, False])
def test_fused_relu_equals_two_steps(randn, biased, dtype):
    given = [randn(2, 5, 7, seed=1), randn(6, 7, seed=2), randn(6, seed=3)][: 3 if biased else 2]
    assert_close_derived(relu_of("fused"), relu_of("torch"), given, dtype=dtype)


def test_second_derivatives(randn):
    x, w, b = (randn(*shape, seed=7).double().requires_grad_() for shape in ((3, 4), (5, 4), (5,)))
    assert torch.autograd.gradgradcheck(relu_of("fused"), (x, w, b))


def test_what_needs_no_gradient_gets_none(randn):
    x, w, b = randn(3, 4), randn(5, 4, seed=1).requires_grad_(), randn(5, seed=2)
    (gradient,) = torch.autograd.grad(relu_of("fused")(x, w, b).sum(), w)
    torch.testing.assert_close(gradient, torch.autograd.grad(relu_of("torch")(x, w, b).sum(), w)[0])


def test_autocast(randn):
    found, shapes = [], ((3, 4), (5, 4), (5,))
    given = [randn(*shape, seed=len(shape)).float().requires_grad_() for shape in shapes]
    for impl in ("fused", "torch"):
        with torch.autocast("cpu", torch.bfloat16):
            y = relu_of(impl)(*given)
        found.append((y, *torch.autograd.grad(y.float().sum(), given)))
    assert found[0][0].dtype == torch.bfloat16
    torch.testing.assert_close(*found)


def test_gelu_on_a_cpu_takes_two_steps(randn):
    x, w = randn(3, 4), randn(5, 4, seed=1)
    torch.testing.assert_close(
        activated_linear(x, w, None, "gelu_tanh"), torch.nn.functional.gelu(x @ w.mT, approximate="tanh")
    )
    with pytest.raises(ValueError, match="GELU by erf"):
        activated_linear(x, w, None, "gelu_tanh", impl="fused")
    with pytest.raises(ValueError, match="expected 'relu' or 'gelu_tanh'"):
        activated_linear(x, w, None, "silu")
