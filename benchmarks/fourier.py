"""Fourier mixing against the complex transform, and where two matrix products are the faster form."""

from __future__ import annotations

import torch
from benchmarks.harness import SEED, Row, compared, publish, timings, train_step, verify
from torch import Tensor

from formers import ops
from formers.ops.token_mixing import naive as naive_mixing
from formers.ops.token_mixing.fourier import MATMUL_UP_TO

NOTES = (
    "float32, D=256, forward. The transform is compared with `torch.fft.fftn(x, dim=(1, 2)).real`, which leaves a "
    "strided view; ours is contiguous. The allocator can make that look slower than the same with a copy after it, "
    "which is more work, so the target is held against both. The crossover compares the two forms of the op by "
    f"B·L·D·(L + D), here with D=64; auto takes the products up to {MATMUL_UP_TO:,}."
)


def naive(x: Tensor) -> Tensor:
    return torch.fft.fftn(x, dim=(1, 2)).real


def transform_rows(batch: int, length: int) -> list[Row]:
    x = torch.randn(batch, length, 256)
    setting = f"B={batch}, L={length}"
    calls = {
        "ours": lambda: ops.fourier_mix(x),
        "fftn(x).real": lambda: naive(x),
        "fftn(x).real.contiguous()": lambda: naive(x).contiguous(),
    }
    times = timings(calls, repeats=31)
    rows = [compared("fourier, forward", setting, times, "ours", "fftn(x).real", 1 / 1.5)]
    rows.append(compared("fourier, forward", setting, times, "ours", "fftn(x).real.contiguous()", 1 / 1.5))
    y = torch.randn(batch, length, 256, requires_grad=True)
    times = timings({"ours": train_step(ops.fourier_mix, [y]), "fftn(x).real": train_step(naive, [y])}, repeats=15)
    rows.append(compared("fourier, forward + backward", setting, times, "ours", "fftn(x).real"))
    return rows


def crossover_rows(batch: int, length: int) -> list[Row]:
    x = torch.randn(batch, length, 64)
    calls = {
        "products": lambda: ops.fourier_mix(x, impl="matmul"),
        "transform": lambda: ops.fourier_mix(x, impl="torch"),
    }
    setting = f"B·L·D·(L + D) = {x.numel() * (length + 64):,}"
    return [compared("products", setting, timings(calls, repeats=31), "products", "transform")]


def main() -> None:
    torch.manual_seed(SEED)
    for impl in ("torch", "matmul"):
        verify(lambda x, impl=impl: ops.fourier_mix(x, impl=impl), naive_mixing.fourier_mix, [torch.randn(2, 33, 20)])
    rows = [row for batch in (1, 8) for length in (512, 2048) for row in transform_rows(batch, length)]
    rows += [
        row for batch, length in ((1, 32), (4, 32), (4, 64), (8, 64), (8, 128)) for row in crossover_rows(batch, length)
    ]
    publish("fourier", "Fourier mixing", NOTES, rows)


if __name__ == "__main__":
    main()
