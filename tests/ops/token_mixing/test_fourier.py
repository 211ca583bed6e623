"""Fourier mixing against its formula."""

from __future__ import annotations

import pytest
import torch

from formers.ops import fourier_mix
from formers.ops.common.dispatch import Forms
from formers.ops.token_mixing import fourier_matmul, naive
from formers.ops.token_mixing.fourier import FourierInputs
from formers.testing.tolerance import assert_close_derived

SIZES = [(1, 1), (1, 6), (8, 1), (2, 2), (7, 6), (8, 5), (13, 40), (33, 17), (31, 64), (128, 192)]
"""Lengths and widths, odd and even, prime, and such that half of them fills a multiple of 16 and does not."""


@pytest.mark.parametrize("impl", ["torch", "matmul"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize(("length", "width"), [(1, 1), (1, 6), (8, 1), (8, 6), (7, 6), (8, 5), (33, 17), (2, 2)])
def test_equals_the_naive_form(randn, length, width, dtype, impl):
    given = [randn(3, length, width)]
    assert_close_derived(lambda x: fourier_mix(x, impl=impl), naive.fourier_mix, given, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("length", "width"), SIZES)
def test_products_in_half_precision_equal_the_naive_form(randn, length, width, dtype):
    given = [randn(2, length, width)]
    assert_close_derived(lambda x: fourier_mix(x, impl="half"), naive.fourier_mix, given, dtype=dtype)


@pytest.mark.parametrize("axis", [1, 2])
def test_products_in_half_precision_are_finite_where_the_result_is(axis):
    x = torch.full((1, 64, 64), 12.0).half().index_fill(axis, torch.arange(1, 64, 2), -12.0)  # y is 49,152 at one place
    y, wanted = fourier_mix(x, impl="half"), naive.fourier_mix(x)
    torch.testing.assert_close(y, wanted, rtol=2**-10, atol=4 * 2**-10 * float(wanted.float().square().mean().sqrt()))


def test_gradients_of_any_order_of_products_in_half_precision_are_the_same_products(randn):
    x, v, w = (randn(2, 7, 10).bfloat16().requires_grad_() for _ in range(3))
    y = fourier_mix(x, impl="half")
    (first,) = torch.autograd.grad(y, x, v, create_graph=True)
    (second,) = torch.autograd.grad(first, v, w)
    assert torch.equal(first, fourier_mix(v, impl="half"))
    assert torch.equal(second, fourier_mix(w, impl="half"))


@pytest.mark.parametrize("impl", ["torch", "half"])
def test_transforms_of_functions(randn, impl):
    x, v = randn(3, 2, 7, 10).bfloat16(), randn(3, 2, 7, 10).bfloat16()
    found, along = torch.func.jvp(torch.func.vmap(lambda x: fourier_mix(x, impl=impl)), (x,), (v,))
    torch.testing.assert_close(found, torch.stack([fourier_mix(t, impl=impl) for t in x]))
    torch.testing.assert_close(along, torch.stack([fourier_mix(t, impl=impl) for t in v]))
    gradient = torch.func.grad(lambda x: (fourier_mix(x, impl=impl) * v[0]).sum())(x[0])
    torch.testing.assert_close(gradient, fourier_mix(v[0], impl=impl), rtol=0.05, atol=0.3)


def test_products_in_half_precision_compile_in_one_graph(randn):
    x, v = randn(2, 7, 10).bfloat16().requires_grad_(), randn(2, 7, 10).bfloat16()
    compiled = torch.compile(lambda x: fourier_mix(x, impl="half"), backend="aot_eager", fullgraph=True)
    y = compiled(x)
    (gradient,) = torch.autograd.grad(y, x, v)
    assert torch.equal(y, fourier_mix(x, impl="half"))
    assert torch.equal(gradient, fourier_mix(v, impl="half"))


def test_kernels_by_the_interpreter(kernel_script) -> None:
    assert kernel_script("interpreted.py") == {"checked": 15}


def test_on_a_gpu_half_precision_is_multiplied_as_it_is_while_that_is_little_work():
    forms, gpu = Forms.registry["fourier_mix"], torch.device("cuda")
    chosen = [
        forms.choose("auto", FourierInputs(torch.empty(32, length, 768, dtype=dtype, device="meta")), gpu).name
        for length, dtype in ((512, torch.bfloat16), (16384, torch.bfloat16), (512, torch.float32))
    ]
    assert chosen == ["half", "torch", "torch"]


def test_naive_equals_the_transform(randn):
    x = randn(2, 9, 14)
    torch.testing.assert_close(naive.fourier_mix(x), torch.fft.fftn(x, dim=(1, 2)).real)


def test_second_gradients(randn):
    assert torch.autograd.gradgradcheck(lambda x: fourier_mix(x, impl="torch"), randn(1, 3, 4).requires_grad_())


def test_strided_input(randn):
    x = randn(2, 14, 9).mT
    torch.testing.assert_close(fourier_mix(x, impl="torch"), fourier_mix(x.contiguous(), impl="matmul"))


def test_a_table_made_for_inference_serves_training(randn):
    fourier_matmul.tables.cache_clear()
    with torch.inference_mode():
        fourier_mix(randn(1, 5, 4), impl="matmul")
    fourier_mix(randn(1, 5, 4).requires_grad_(), impl="matmul").sum().backward()


def test_auto_goes_by_size(randn, caplog):
    with caplog.at_level("DEBUG", logger="formers.ops"):
        fourier_mix(randn(1, 8, 8))
        fourier_mix(randn(2, 512, 64))
    assert ["matmul" in message for message in caplog.messages] == [True, False]


def test_wrong_arguments_are_explained(randn):
    with pytest.raises(ValueError, match=r"expected 3 axes \(B, L, D\)"):
        fourier_mix(randn(3, 4))
    with pytest.raises(ValueError, match=r"at least one entry"):
        fourier_mix(randn(3, 0, 4))
    with pytest.raises(ValueError, match=r"no impl 'fft'; available: 'auto', 'torch', 'matmul', 'half', 'naive'"):
        fourier_mix(randn(3, 4, 4), impl="fft")
