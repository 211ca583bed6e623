"""Gradients by autograd in place of a backward pass written by hand."""

from __future__ import annotations

import pytest
import torch

from formers.ops import gradients_by_autograd, is_transformed, needs_autograd


def product(a, b, c=None):
    return a * b * (1 if c is None else c), None


@pytest.mark.parametrize("graph", [False, True])
def test_inputs_made_from_each_other_are_told_apart(graph):
    a = torch.tensor(3.0, requires_grad=True)
    b = a.square()
    with torch.set_grad_enabled(graph):
        found = gradients_by_autograd(product, (a, b, None), (torch.tensor(1.0), None))
    assert [None if t is None else t.item() for t in found] == [9.0, 3.0, None]
    assert [t.requires_grad for t in found[:2]] == [graph, graph]
    if graph:
        assert torch.autograd.grad(found[0], a)[0].item() == 6.0  # of a² by way of b


def test_inputs_without_a_gradient_get_none():
    a = torch.tensor(3.0, requires_grad=True)
    one = torch.tensor(1.0)
    assert gradients_by_autograd(product, (one, a, one), (one, None)) == (None, one, None)
    assert gradients_by_autograd(product, (one, one, one), (one, None)) == (None, None, None)
    unused = gradients_by_autograd(lambda a, b: (a,), (one, a), (one,))
    assert unused == (None, None)


def test_it_is_known_when_autograd_is_needed():
    assert not is_transformed()
    assert needs_autograd()
    with torch.no_grad():
        assert not needs_autograd()
    seen = []
    torch.func.vmap(lambda x: (seen.append(is_transformed()), x)[1])(torch.ones(2))
    with torch.autograd.forward_ad.dual_level():
        seen.append(is_transformed())
    assert seen == [True, True]


def test_a_batch_of_gradients_needs_autograd_though_no_transform_is_active():
    seen = []

    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return 2 * x

        @staticmethod
        def backward(ctx, gradient):
            seen.append((is_transformed(), needs_autograd(None, gradient)))
            return 2 * gradient

    x = torch.ones(3, requires_grad=True)
    torch.autograd.grad(Twice.apply(x), x, torch.eye(3), is_grads_batched=True)
    torch.autograd.grad(Twice.apply(x), x, torch.ones(3))
    assert seen == [(False, True), (False, False)]
