"""The maximum norm against its naive form; the Triton form runs in `interpreted.py`."""

from __future__ import annotations

import pytest
import torch

from formers.ops import max_norm
from formers.ops.token_wise import naive
from formers.testing.tolerance import assert_close_derived


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("eps", [1e-3, 0.5])
def test_equals_the_naive_form(randn, eps, dtype):
    assert_close_derived(
        lambda x: max_norm(x, eps=eps), lambda x: naive.max_norm(x, eps), [randn(3, 5, 7)], dtype=dtype
    )


def test_equal_features_share_the_gradient_and_zeros_stay_zeros():
    x = torch.tensor([[2.0, -2.0, 1.0], [0.0, 0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    found = max_norm(x, eps=0.5, impl="torch")
    (gradient,) = torch.autograd.grad(found[:, 2].sum(), x)
    assert torch.equal(found[1], torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(gradient[0], torch.tensor([-0.08, 0.08, 0.4], dtype=torch.float64))
    torch.testing.assert_close(gradient[1], torch.tensor([0.0, 0.0, 2.0], dtype=torch.float64))


def test_by_the_interpreter(kernel_script) -> None:
    assert kernel_script("interpreted.py") == {"checked": 12}


@pytest.mark.parametrize(
    ("x", "eps", "message"), [((2, 3), 0.0, "eps must be positive"), ((2, 0), 1.0, "expected features")]
)
def test_refusals(x, eps, message):
    with pytest.raises(ValueError, match=message):
        max_norm(torch.zeros(x), eps=eps)
