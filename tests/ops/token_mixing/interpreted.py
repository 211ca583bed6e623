"""Run the kernels of Fourier mixing by Triton's interpreter, on a CPU; print how many checks passed as JSON.

In a process of its own, because the interpreter is chosen when kernels are first imported.
"""

from __future__ import annotations

import json
import os

os.environ["TRITON_INTERPRET"] = "1"

import torch
from torch import Tensor

from formers.ops import fourier_mix
from formers.ops.token_mixing import fourier_fold, naive, triton_fold
from formers.testing.tolerance import assert_close_derived

SIZES = ((1, 1), (1, 6), (8, 1), (2, 2), (7, 6), (8, 5), (31, 64), (33, 17), (16, 2050))


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def check_folds(length: int, width: int) -> None:
    """Compare with what operations of torch do, without roundings: parts where tables weigh something."""
    x = drawn(2, length, width)
    parts = triton_fold.fold(x)
    for found, wanted in zip(parts, fourier_fold.fold(x), strict=True):
        torch.testing.assert_close(*(t[:, : length // 2 + 1, : width // 2 + 1] for t in (found, wanted)))
        assert found.isfinite().all()
    wanted = sum(x.flip(dim).roll(1, dim) for dim in (1, 2)) / 2  # at −n, d and n, −d: what parts have of x
    torch.testing.assert_close(triton_fold.unfold(*parts, length, width), wanted)
    torch.testing.assert_close(fourier_fold.unfold(*parts, length, width), wanted)


def main() -> None:
    for size in SIZES:
        check_folds(*size)
    for length, width in ((1, 1), (7, 6), (8, 5), (33, 17)):
        assert_close_derived(
            lambda x: fourier_mix(x, impl="half"), naive.fourier_mix, [drawn(2, length, width)], dtype=torch.float16
        )
    strided = drawn(2, 14, 9).half().mT
    assert torch.equal(fourier_mix(strided, impl="half"), fourier_mix(strided.contiguous(), impl="half"))
    x = drawn(2, 7, 6).half().requires_grad_()
    y, several = fourier_mix(x, impl="half"), drawn(3, 2, 7, 6).half()
    (found,) = torch.autograd.grad(y, x, several, is_grads_batched=True, retain_graph=True)
    wanted = [torch.autograd.grad(y, x, gradient, retain_graph=True)[0] for gradient in several]
    torch.testing.assert_close(found, torch.stack(wanted), rtol=1e-2, atol=1e-2)
    print(json.dumps({"checked": len(SIZES) + 6}))


if __name__ == "__main__":
    main()
