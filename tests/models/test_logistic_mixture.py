"""The mixture of logistics against its formula in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from formers.models.logistic_mixture import LOG_SCALES, LogisticMixture
from formers.testing import assert_same


def drawn(*shape: int, mixtures: int = 3, spread: float = 1.0) -> Tensor:
    return spread * torch.randn(*shape, 3 * mixtures, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def by_the_formula(parameters: Tensor, levels: int) -> Tensor:
    """P of every value, (N, levels): differences of two sigmoids, one by one."""
    count = parameters.shape[1] // 3
    p = torch.zeros(len(parameters), levels, dtype=parameters.dtype)
    for m in range(count):
        weight = parameters[:, :count].exp()[:, m] / parameters[:, :count].exp().sum(1)
        mean, scale = parameters[:, count + m], parameters[:, 2 * count + m].exp()
        edges = [torch.zeros(len(parameters), dtype=p.dtype)]
        edges += [1 / (1 + (-((2 * x + 1) / (levels - 1) - 1 - mean) / scale).exp()) for x in range(levels - 1)]
        edges += [torch.ones(len(parameters), dtype=p.dtype)]
        p = p + torch.stack([weight * (edges[x + 1] - edges[x]) for x in range(levels)], 1)
    return p


@pytest.mark.parametrize("levels", [2, 5, 256])
def test_equal_to_the_formula_with_gradients(levels: int) -> None:
    parameters = drawn(7).requires_grad_()
    values = torch.arange(7) % levels
    got, want = LogisticMixture.of(parameters, levels), by_the_formula(parameters, levels)
    assert_same(got.log_probs(), want.log(), "log P of every value")
    assert_same(got.log_prob(values), want[torch.arange(7), values].log(), "log P of some values")
    assert_same(got.log_probs().exp().sum(-1), torch.ones(7, dtype=torch.float64), "their sum")
    (grad,) = torch.autograd.grad(got.log_prob(values).sum(), parameters)
    (expected,) = torch.autograd.grad(want[torch.arange(7), values].log().sum(), parameters)
    assert_same(grad, expected, "its gradient")


def test_far_values_have_finite_logarithms_and_gradients() -> None:
    parameters = drawn(64, mixtures=10, spread=50).float().requires_grad_()
    found = LogisticMixture.of(parameters, 256).log_probs()
    found.sum().backward()
    assert found.isfinite().all()
    assert parameters.grad is not None
    assert parameters.grad.isfinite().all()


def test_scales_are_limited() -> None:
    mixture = LogisticMixture.of(torch.tensor([0.0, 0.0, -1e4, 0.0, 0.0, 1e4]).view(2, 3), 256)
    assert mixture.log_scale.flatten().tolist() == list(LOG_SCALES)


def test_half_precision_is_widened() -> None:
    assert LogisticMixture.of(drawn(2).half(), 16).log_probs().dtype == torch.float32


@pytest.mark.parametrize("value", [-1, 16])
def test_values_that_do_not_exist(value: int) -> None:
    with pytest.raises(ValueError, match="from 0 to 15"):
        LogisticMixture.of(drawn(1), 16).log_prob(torch.tensor([value]))
