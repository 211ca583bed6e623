"""Token-wise functions on a GPU against their plain forms."""

from __future__ import annotations

import pytest
import torch

from formers.ops import activated_linear, max_norm, opposite_softmaxes

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [7, 768, 5000])
def test_max_norm(width: int, dtype: torch.dtype, device: str) -> None:
    if (device, dtype) == ("cpu", torch.bfloat16):
        pytest.skip("Triton's interpreter has another bfloat16")
    x = torch.randn(3, 50, width, device=device).to(dtype)
    given = [x.clone().requires_grad_() for _ in range(2)]
    found = max_norm(given[0], impl="triton")
    wanted = max_norm(given[1].float(), impl="naive")
    gradients = [torch.autograd.grad(y.float().sin().sum(), t)[0] for y, t in zip((found, wanted), given, strict=True)]
    tolerance = 4 * torch.finfo(dtype).eps
    torch.testing.assert_close(found.float(), wanted, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(*gradients, rtol=tolerance, atol=8 * tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("activation", ["relu", "gelu_tanh"])
def test_activated_linear(activation: str, biased: bool, dtype: torch.dtype, device: str) -> None:
    if device == "cpu" and activation == "gelu_tanh":
        pytest.skip("on a CPU the kernel ends with another GELU")
    x, w, b = (torch.randn(*s, device=device).to(dtype) for s in ((4, 64, 96), (256, 96), (256,)))
    given = [x, w / 10, b if biased else None]
    tolerance = 8 * torch.finfo(dtype).eps if dtype != torch.float32 else 1e-5
    with torch.no_grad():
        found, wanted = (activated_linear(*given, activation, impl=impl) for impl in ("fused", "torch"))
        x[0, 3] = torch.nan
        assert activated_linear(*given, activation, impl="fused")[0, 3].isnan().all()
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_of_a_linear_layer_with_relu(dtype: torch.dtype, device: str) -> None:
    given = [torch.randn(*s, device=device).to(dtype).requires_grad_() for s in ((4, 64, 96), (256, 96), (256,))]
    tolerance = 16 * torch.finfo(dtype).eps if dtype != torch.float32 else 1e-4
    found, wanted = (
        torch.autograd.grad(activated_linear(*given, "relu", impl=impl).float().sum(), given)
        for impl in ("fused", "torch")
    )
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance * float(other.abs().max()))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [7, 64, 300])
def test_opposite_softmaxes(width: int, dtype: torch.dtype, device: str) -> None:
    if (device, dtype) == ("cpu", torch.bfloat16):
        pytest.skip("Triton's interpreter has another bfloat16")
    x = torch.randn(3, 50, width, device=device).to(dtype)
    given = [x.clone().requires_grad_() for _ in range(2)]
    found, wanted = opposite_softmaxes(given[0], impl="triton"), opposite_softmaxes(given[1].float(), impl="naive")
    gradients = [torch.autograd.grad(y.float().sin().sum(), t)[0] for y, t in zip((found, wanted), given, strict=True)]
    tolerance = 8 * torch.finfo(dtype).eps
    torch.testing.assert_close(found.float(), wanted, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(*gradients, rtol=tolerance, atol=tolerance)
