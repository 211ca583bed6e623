"""Fourier features against what defines them; their kernel runs in `interpreted.py`."""

import pytest
import torch

from formers.ops import fourier_features


def given(dtype=torch.float64):
    torch.manual_seed(0)
    return torch.randn(2, 3, 40, 5, dtype=dtype), torch.randn(
        20_000, 5, dtype=torch.promote_types(dtype, torch.float32)
    )


def test_their_products_are_the_kernel_on_average():
    x, w = given()
    phi = fourier_features(x, w / 1.5)
    unit = torch.nn.functional.normalize(x, dim=-1)
    torch.testing.assert_close(phi @ phi.mT, ((unit @ unit.mT - 1) / 1.5**2).exp(), rtol=0, atol=0.04)


def test_half_precision_is_rounded_at_the_end():
    x, w = given(torch.bfloat16)
    assert torch.equal(fourier_features(x, w, dtype=torch.bfloat16), fourier_features(x.float(), w).bfloat16())


def test_zeros_have_a_gradient():
    x = torch.zeros(1, 1, 2, 5, requires_grad=True)
    (g,) = torch.autograd.grad(fourier_features(x, torch.randn(3, 5)).sum(), x)
    assert g.isfinite().all()


def test_what_does_not_fit_raises():
    x, w = given(torch.bfloat16)
    with pytest.raises(ValueError, match=r"expected torch.float32 for torch.bfloat16 x_bhlk"):
        fourier_features(x, w.bfloat16())
    with pytest.raises(ValueError, match="K"):
        fourier_features(x, w[:, 1:])
