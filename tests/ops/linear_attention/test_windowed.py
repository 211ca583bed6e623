"""Linear attention beyond a window: every form equals the formula, with all gradients."""

from __future__ import annotations

import pytest
import torch

from formers.ops import windowed_linear_attention
from formers.ops.linear_attention import naive, windowed_flex
from formers.testing.tolerance import assert_close_derived

NAMES = ["q", "k", "v", "phi_q", "phi_k", "log_gain"]
SIZES = [(1, 0, 9), (4, 2, 13), (7, 3, 5), (7, 0, 7), (5, 2, 140), (40, 1, 300), (150, 4, 300), (3, 140, 300)]
"""Windows, sinks and lengths: sinks inside the window, no far token, tiles that are wholly near."""


def given(randn, length, heads=2, dtype=torch.float64):
    q, k, v = (randn(2, heads, length, 16, seed=seed).to(dtype) for seed in range(3))
    phi_q, phi_k = (randn(2, heads, length, 6, seed=seed).to(dtype).abs() for seed in (3, 4))
    return [q, k, v, phi_q, phi_k, randn(heads, seed=5).to(dtype)]


def op(window, sinks, impl):
    return lambda *t: windowed_linear_attention(*t[:5], window=window, sinks=sinks, log_gain_h=t[5], impl=impl)


def by_flex(window, sinks):
    return lambda *t: windowed_flex.windowed_linear_attention(*t, window, sinks, 1e-18)


def with_gradients(form, inputs):
    inputs = [t.clone().requires_grad_() for t in inputs]
    y = form(*inputs)
    return y, torch.autograd.grad((y * y.detach().cos()).sum(), inputs, allow_unused=True, materialize_grads=True)


@pytest.mark.parametrize(("window", "sinks", "length"), SIZES)
def test_blocks_equal_the_formula(randn, window, sinks, length):
    assert_close_derived(
        op(window, sinks, "blocks"), op(window, sinks, "naive"), given(randn, length), names=NAMES, dtype=torch.float64
    )


@pytest.mark.parametrize(("window", "sinks", "length"), SIZES)
def test_flex_equals_the_formula(on_flex, randn, window, sinks, length):
    on_flex(windowed_flex)
    inputs = given(randn, length)
    found, wanted = (with_gradients(form, inputs) for form in (by_flex(window, sinks), op(window, sinks, "naive")))
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_flex_in_half_precision(on_flex, randn, dtype):
    on_flex(windowed_flex)
    assert_close_derived(by_flex(5, 2), op(5, 2, "naive"), given(randn, 140), names=NAMES, dtype=dtype)


def test_flex_with_equal_scores(on_flex, randn):
    on_flex(windowed_flex)
    inputs = given(randn, 140)
    inputs[1][:, :, 3:] = inputs[1][:, :, 3:4]  # the sinks' keys alone are others
    found, wanted = (with_gradients(form, inputs) for form in (by_flex(5, 2), op(5, 2, "naive")))
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-6)
    half = [t.bfloat16() for t in inputs]
    y, exact = by_flex(5, 2)(*half), op(5, 2, "naive")(*(t.double() for t in half))
    torch.testing.assert_close(y.double(), exact, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_flex_as_torch_runs_it(randn, dtype):
    inputs = [t.to(dtype) for t in given(randn, 200)]
    inputs[0] *= 20  # scores beyond what exp holds in float16
    with torch.no_grad():
        y = op(40, 4, "flex")(*inputs)
    assert y.dtype == dtype
    wanted = op(40, 4, "naive")(*(t.double() for t in inputs))
    torch.testing.assert_close(y.double(), wanted, rtol=2e-2, atol=2e-2)


def test_flex_says_what_it_cannot_do(randn):
    inputs = given(randn, 20)
    with pytest.raises(ValueError, match="half precision holds them; use impl='blocks'"):
        op(4, 2, "flex")(*inputs)
    with pytest.raises(ValueError, match="no gradients on a CPU; use impl='blocks'"):
        op(4, 2, "flex")(*(t.half().requires_grad_() for t in inputs))


def test_what_does_not_fit_raises(randn):
    q, k, v, phi_q, phi_k, gain = given(randn, 20)
    fits = {"window": 4, "sinks": 2}
    for tensors, options, message in (
        ((q, k[:, :, 1:], v, phi_q, phi_k), fits, "L"),
        ((q, k, v, phi_q, phi_k.float()), fits, "one floating-point dtype"),
        ((q, k, v, phi_q, phi_k), {"window": 0, "sinks": 2}, "at least 1"),
        ((q, k, v, phi_q, phi_k), {**fits, "log_gain_h": gain[:1]}, "log_gain_h has shape"),
    ):
        with pytest.raises(ValueError, match=message):
            windowed_linear_attention(*tensors, **options)


def test_second_derivatives(randn):
    inputs = given(randn, 20)
    form = lambda *t: op(4, 2, "auto")(*t).sin().sum()  # noqa: E731
    twice = torch.func.grad(lambda *t: sum(g.square().sum() for g in torch.func.grad(form, (0, 1, 4))(*t)))
    plain = lambda *t: op(4, 2, "naive")(*t).sin().sum()  # noqa: E731
    wanted = torch.func.grad(lambda *t: sum(g.square().sum() for g in torch.func.grad(plain, (0, 1, 4))(*t)))
    torch.testing.assert_close(twice(*inputs), wanted(*inputs))


def test_the_formula_itself(randn):
    q, k, v, phi_q, phi_k, gain = given(randn, 9)
    y = naive.windowed_linear_attention(q, k, v, phi_q, phi_k, gain, 2, 1, 1e-18)
    i = 6  # near are 0, 5 and 6
    s = (q[:, :, i, None] @ k.mT).squeeze(2) / 4
    m = s[..., [0, 5, 6]].amax(-1, keepdim=True)
    a = gain.exp()[:, None] * (phi_q[:, :, i, None] @ phi_k.mT).squeeze(2)
    a[..., [0, 5, 6]] = (s - m).exp()[..., [0, 5, 6]]
    a = a[..., : i + 1]
    torch.testing.assert_close(y[:, :, i], (a / a.sum(-1, keepdim=True)).unsqueeze(2).matmul(v[:, :, : i + 1])[:, :, 0])
