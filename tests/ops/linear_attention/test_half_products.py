"""Products of half types as a GPU makes them, on a CPU: what is computed is the same, but for the kernel."""

from __future__ import annotations

import pytest
import torch

from formers.ops import LinearState, multiplies_half
from formers.ops.linear_attention import half_products, naive
from formers.ops.linear_attention.wide_products import wide_product
from formers.testing.tolerance import assert_close_derived

HALF = (torch.float16, torch.bfloat16)


def given(rand, randn, queries, keys):
    return [
        rand(2, 3, queries, 6, seed=1),
        rand(2, 3, keys, 6, seed=2),
        randn(2, 3, keys, 5, seed=3),
        randn(2, 3, 6, 5, seed=4),
        rand(2, 3, 6, seed=5),
    ]


def half_or_naive(form, causal, normalize):
    """The form for half types, and the naive one for the others, which it is judged by; without s and z from zeros."""

    def run(q, k, v, s=None, z=None):
        state = None if s is None else LinearState(*(t.to(torch.promote_types(t.dtype, torch.float32)) for t in (s, z)))
        if q.dtype in HALF and form is not None:
            y, (s, z) = form(q, k, v, state, normalize, 1e-18)
        else:
            y, (s, z) = naive.linear_attention(q, k, v, causal, None, state, normalize)
        return (y, s) if z is None else (y, s, z)

    return run


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("goes_on", [True, False])
@pytest.mark.parametrize(
    ("form", "queries", "keys"), [("half_chunks", 150, 150), ("half_chunks", 5, 5), ("half_through_state", 70, 41)]
)
def test_equals_the_plain_form(rand, randn, form, queries, keys, goes_on, normalize, dtype):
    causal, inputs = form == "half_chunks", given(rand, randn, queries, keys)
    fast = half_or_naive(getattr(half_products, form), causal, normalize)
    assert_close_derived(fast, half_or_naive(None, causal, normalize), inputs if goes_on else inputs[:3], dtype=dtype)


@pytest.mark.parametrize("dtype", HALF)
def test_few_keys_go_through_their_scores(randn, dtype):
    q, x, s = (randn(2, 3, n, 6, seed=n).to(dtype) for n in (20, 3, 6))
    for before in (LinearState(s.float(), None), None):
        y, state = half_products.half_through_scores(q, x, before)
        wanted, end = naive.dense_attention(q, x, state=before)
        torch.testing.assert_close(y, wanted, rtol=0.02, atol=0.05)
        torch.testing.assert_close(state.s_bhmv, end.s_bhmv)


def test_sums_beyond_float16_stay_finite():
    one = torch.full((1, 1, 4096, 32), 8.0, dtype=torch.float16, requires_grad=True)
    start = LinearState(torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 32))
    for form in (half_products.half_chunks, half_products.half_through_state):
        y, (s, _) = form(one, one, one, start, True, 1e-18)
        assert float(s.detach().max()) == 64 * 4096
        torch.testing.assert_close(y, one, rtol=1e-2, atol=0)
        assert torch.autograd.grad(y.float().mean(), one)[0].isfinite().all()


def test_second_derivatives_are_those_of_products(randn):
    a, b = (randn(1, 1, 4, 4, seed=seed).bfloat16().requires_grad_() for seed in range(2))

    def second(product):
        (g,) = torch.autograd.grad(product(a, b).square().sum(), a, create_graph=True)
        return torch.autograd.grad(g.float().sum(), b)[0]

    plain = second(lambda a, b: a.float() @ b.float())
    torch.testing.assert_close(second(wide_product), plain, rtol=0.05, atol=0.2)


def test_only_half_types_on_a_gpu_are_multiplied_so(randn):
    assert not multiplies_half(randn(1, 1, 2, 2).bfloat16())
