"""Run the functions of each token by Triton's interpreter, on a CPU, against their naive forms.

Prints how many checks passed. In a process of its own, because the interpreter is chosen when kernels are first
imported.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable

os.environ["TRITON_INTERPRET"] = "1"

import torch
from torch import Tensor

from formers.ops import max_norm, opposite_softmaxes


def drawn(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).to(dtype)


def norm(x: Tensor, impl: str) -> Tensor:
    return max_norm(x, eps=0.1, impl=impl)


def check(x: Tensor, tolerance: float, op: Callable[..., Tensor] = norm) -> None:
    """Compare the result and its gradient."""
    given = [x.detach().clone().requires_grad_() for _ in range(2)]
    found, wanted = (op(t, impl=impl) for t, impl in zip(given, ("triton", "naive"), strict=True))
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)
    gradients = [torch.autograd.grad(y.float().sin().sum(), t)[0] for y, t in zip((found, wanted), given, strict=True)]
    atol = tolerance * max(float(gradients[1].abs().max()), 1.0 if op is opposite_softmaxes else 0.0)  # 1 cancels there
    torch.testing.assert_close(*gradients, rtol=10 * tolerance, atol=atol)


def check_second_derivatives(x: Tensor, op: Callable[..., Tensor] = max_norm) -> None:
    second = []
    for impl in ("triton", "naive"):
        t = x.clone().requires_grad_()
        (first,) = torch.autograd.grad(op(t, impl=impl).sin().sum(), t, create_graph=True)
        second.append(torch.autograd.grad(first.square().sum(), t)[0])
    torch.testing.assert_close(*second, rtol=1e-4, atol=1e-4)


def check_a_batch_of_gradients(x: Tensor, op: Callable[..., Tensor] = max_norm) -> None:
    x.requires_grad_()
    y = op(x, impl="triton")
    several = torch.stack([y.detach().cos(), y.detach()])
    (found,) = torch.autograd.grad(y, x, several, is_grads_batched=True, retain_graph=True)
    wanted = [torch.autograd.grad(y, x, gradient, retain_graph=True)[0] for gradient in several]
    torch.testing.assert_close(found, torch.stack(wanted), rtol=1e-4, atol=1e-4)


def main() -> None:
    check(drawn(3, 40, 24), 1e-6)
    check(drawn(2, 300), 1e-6)
    check(drawn(2, 24, 6).transpose(1, 2).round(), 1e-6)  # strides, ties and zeros
    check(drawn(3, 5, 24, dtype=torch.float16), 2e-3)
    check(1e20 * drawn(2, 9), 1e-6)
    check_second_derivatives(drawn(3, 5))
    check_a_batch_of_gradients(drawn(3, 5))
    check(3 * drawn(3, 40, 24), 1e-6, opposite_softmaxes)
    check(drawn(2, 24, 6).transpose(1, 2), 1e-6, opposite_softmaxes)
    check(drawn(3, 5, 33, dtype=torch.float16), 2e-3, opposite_softmaxes)
    check_second_derivatives(drawn(3, 5), opposite_softmaxes)
    check_a_batch_of_gradients(drawn(3, 5), opposite_softmaxes)
    with torch.no_grad():
        row = drawn(2, 20)
        row[0, 3] = torch.nan
        found = max_norm(row, impl="triton")
        large = [opposite_softmaxes(1e4 * drawn(2, 20), impl=impl) for impl in ("triton", "naive")]
    torch.testing.assert_close(*large)
    assert found[0].isnan().all()
    assert found[1].isfinite().all()
    print(json.dumps({"checked": 12}))


if __name__ == "__main__":
    main()
