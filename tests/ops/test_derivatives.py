"""Derivatives of any order: of gradients, under the transforms of `torch.func`, and in forward mode."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.autograd.forward_ad import dual_level, make_dual, unpack_dual
from torch.func import grad, hessian, jacrev, jvp, vmap

from formers.ops import (
    PairBias,
    bucketed_attention,
    dense_attention,
    exp_features,
    linear_attention,
    sparse_attention,
    varlen_attention,
)
from formers.ops.linear_attention import chunked
from formers.patterns import Blockwise, Window

LENGTH = 70
"""Longer than a chunk of linear attention and a block of gathered attention."""


def drawn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


W, OTHER = drawn(5, 3), drawn(1, 2, LENGTH, 3, seed=3)
BUCKET = torch.randint(3, (1, 2, 2, LENGTH), generator=torch.Generator().manual_seed(0))
MASK = torch.rand(1, LENGTH, generator=torch.Generator().manual_seed(1)) < 0.7


def linear(x, impl, causal=True, decay=False, normalize=True):
    log_g = -x[..., 0].exp() if decay else None
    y, (s, z) = linear_attention(
        x.sigmoid(),
        x.cos() + 2,
        x,
        causal=causal,
        log_decay_bhl=log_g,
        normalize=normalize,
        key_mask_bs=MASK,
        impl=impl,
    )
    return torch.cat([t.flatten(2) for t in (y, s, z) if t is not None], 2)


def dense(x, impl):
    return dense_attention(x.sin(), x / 5, causal=True, impl=impl)[0]


def features(x, impl):
    return exp_features(x / 2, W, x[..., 0].sin(), impl=impl)


def normalized_features(x, impl):
    phi = exp_features(x / 2, W, impl=impl)
    return phi / phi.sum(3, keepdim=True)


def gathered(x, impl, causal=True, mask=None):
    impl = "gathered" if impl == "torch" else impl
    return sparse_attention(x, x[:, :1].cos(), x[:, :1], Window(8), causal=causal, key_mask_bs=mask, impl=impl)


def biased(x, impl):
    """Only the bias depends on x."""
    impl = "gathered" if impl == "torch" else impl
    return sparse_attention(OTHER, OTHER, OTHER, Window(8), causal=True, bias=x @ x.mT / 4, impl=impl)


def varlen(x, impl):
    impl = "gathered" if impl == "torch" else impl
    return varlen_attention(x, x.cos(), x, torch.tensor([LENGTH - 7]), [Blockwise((1, 0))], causal=True, impl=impl)


def bucketed(x, impl, causal=True, own_keys=True, chunk=8, self_last=True):
    k = None if own_keys else x.cos()
    return bucketed_attention(
        x, k, x.sin(), BUCKET, chunk=chunk, causal=causal, self_last=self_last, key_mask_bl=MASK, impl=impl
    )


OPS = {
    "linear": linear,
    "linear, decaying": partial(linear, decay=True),
    "linear, not normalised": partial(linear, normalize=False),
    "linear, all pairs": partial(linear, causal=False),
    "dense": dense,
    "exp_features": features,
    "exp_features, shifted by their largest": normalized_features,
    "gathered": gathered,
    "gathered, all pairs, masked": partial(gathered, causal=False, mask=MASK),
    "gathered, biased": biased,
    "varlen": varlen,
    "bucketed": bucketed,
    "bucketed, all pairs": partial(bucketed, causal=False, own_keys=False),
    "bucketed, tiles two apart": partial(bucketed, chunk=64, self_last=False),
}

parametrize = pytest.mark.parametrize("op", OPS.values(), ids=OPS)


def x_():
    return drawn(1, 2, LENGTH, 3, seed=2).requires_grad_()


def number(op, impl):
    return lambda x: op(x, impl).sin().sum()


@parametrize
def test_first_and_second_derivatives_are_those_of_finite_differences(op):
    run = partial(op, impl="torch")
    assert gradcheck(run, x_(), fast_mode=True)
    assert gradgradcheck(run, x_(), fast_mode=True)


@parametrize
@pytest.mark.parametrize("accumulated", [False, True])
@pytest.mark.filterwarnings("ignore:Using backward")
def test_three_orders_equal_those_of_the_naive_form(op, accumulated):
    def derivatives(impl):
        x, found = x_(), []
        value = number(op, impl)(x)
        for _ in range(3):
            if accumulated:
                value.backward(create_graph=True)
                found.append(x.grad)
                x.grad = None
            else:
                found += torch.autograd.grad(value, x, create_graph=True)
            value = found[-1].tanh().sum()
        return [t.detach() for t in found]

    for got, want in zip(derivatives("torch"), derivatives("naive"), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-12 * float(want.abs().max()))


@parametrize
def test_transforms_equal_those_of_the_naive_form(op):
    x, along = x_().detach(), drawn(1, 2, LENGTH, 3, seed=4)

    def of_first_token(f):
        return lambda first: f(torch.cat([first, x[:, :, 1:]], 2))

    def results(impl):
        f = number(op, impl)
        with dual_level():
            tangent = unpack_dual(op(make_dual(x, along), impl)).tangent
        yield grad(f)(x)
        yield grad(lambda x: (grad(f)(x) * along).sum())(x)
        yield jvp(partial(op, impl=impl), (x,), (along,))[1]
        yield tangent
        yield jvp(grad(f), (x,), (along,))[1]
        yield hessian(of_first_token(f))(x[:, :, :1])
        yield jacrev(jacrev(of_first_token(f)))(x[:, :, :1])

    for got, want in zip(results("torch"), results("naive"), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-12 * float(want.abs().max()))


@parametrize
@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
def test_several_gradients_at_once_equal_one_after_the_other(op, again):
    x = x_()
    y = op(x, "torch")
    if again:  # of the gradient, whose graph is that of the second form
        (y,) = torch.autograd.grad(y.sin().sum(), x, create_graph=True)
    gradients = torch.stack([drawn(*y.shape, seed=seed) for seed in range(2)])
    (got,) = torch.autograd.grad(y, x, gradients, is_grads_batched=True, retain_graph=True)
    want = torch.stack([torch.autograd.grad(y, x, g, retain_graph=True)[0] for g in gradients])
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize("op", [linear, dense, features, gathered], ids=lambda op: op.__name__)
def test_gradients_by_sample(op):
    xs = torch.stack([x_().detach(), drawn(1, 2, LENGTH, 3, seed=5)])
    f = number(op, "torch")
    torch.testing.assert_close(vmap(grad(f))(xs), torch.stack([grad(f)(x) for x in xs]))


def test_a_bias_that_one_tensor_alone_moves_in_forward_mode():
    q, slope = drawn(1, 1, LENGTH, 3), torch.tensor(0.3, dtype=torch.float64)

    def run(slope):
        bias = PairBias(lambda b, q_nl, k_ns: slope * (k_ns[:, None, None] - q_nl[:, None, :, None]), (slope,))
        return sparse_attention(q, q, q, Window(8), causal=True, bias=bias)

    _, got = jvp(run, (slope,), (torch.ones_like(slope),))
    want = (run(slope + 1e-6) - run(slope - 1e-6)) / 2e-6
    torch.testing.assert_close(got, want, rtol=1e-7, atol=1e-8)


def test_a_plain_gradient_makes_no_graph_and_needs_no_second_form(monkeypatch):
    def refuse(*args):
        raise AssertionError("a second form was used")

    monkeypatch.setattr(chunked, "gradients_by_autograd", refuse)
    x = x_()
    (g,) = torch.autograd.grad(number(linear, "torch")(x), x)
    assert not g.requires_grad
    with pytest.raises(AssertionError, match="a second form was used"):
        torch.autograd.grad(number(linear, "torch")(x), x, create_graph=True)
