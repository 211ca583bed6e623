"""Kernels without a target of their own, in bfloat16: attention inside buckets and clusters, and Fourier mixing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from benchmarks.gpu.bench import Bench, both
from benchmarks.gpu.kernels import heads
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention as sdpa

from formers import ops

KINDS = ("forward", "forward + backward")


def bucket_rows(bench: Bench) -> None:
    """LSH's and routing's kernels, in chunks and clusters of 64 and 128 tokens, against SDPA over all of them."""
    for name, (batch, length) in {"4,096": (4, 4096), "16,384": (1, 16384)}.items():
        q, k, v = heads(bench, batch, length)
        exact = bench.arm(f"SDPA {name}", lambda t=(q, k, v): both(bench, partial(sdpa, is_causal=True), t))
        calls = {"lsh": partial(bucketed, bench), "routing": partial(clustered, bench)}
        for case, call in calls.items():
            own = bench.arm(f"{case} {name}", lambda t=(q, k, v), call=call: both(bench, call(*t[0].shape[:3]), t))
            for i, kind in enumerate(KINDS):
                if own:
                    bench.row(f"{case}, {kind}", f"L={name}", own[i], exact[i] if exact else None, against="SDPA")


def bucketed(bench: Bench, batch: int, heads: int, length: int) -> Callable[..., Tensor]:
    """Return LSH attention over two rounds of buckets of about 64 tokens, causal."""
    bucket = torch.randint(max(length // 64, 1), (batch, heads, 2, length), device=bench.device)
    return lambda q, k, v: ops.bucketed_attention(q, None, v, bucket, chunk=64, causal=True, self_last=True) + 0 * k


def clustered(bench: Bench, batch: int, heads: int, length: int) -> Callable[..., Tensor]:
    """Return routing attention over clusters that each pick 128 tokens, bidirectional."""
    width = min(128, length)
    order = torch.rand(batch, heads, length, device=bench.device).argsort(-1)
    picked = order[:, :, : length // width * width].unflatten(2, (-1, width)).sort(-1).values
    return lambda q, k, v: ops.clustered_attention(q, k, v, picked, picked)


def fourier_rows(bench: Bench) -> None:
    """Fourier mixing of width 768 by transform and by products, against torch's complex transform."""
    for length in (512, 1024, 2048, 4096):
        size, width = bench.size(length, 32), bench.size(768, 16)
        x = bench.randn(max(bench.size(16384, 64) // size, 1), size, width)
        peer = bench.arm(f"fftn {length}", lambda x=x: both(bench, complex_transform, [x]))
        for impl in ("torch", "half", "auto"):
            own = bench.arm(f"{impl} {length}", lambda x=x, i=impl: both(bench, partial(ops.fourier_mix, impl=i), [x]))
            for i, kind in enumerate(KINDS):
                if own:
                    name = f"fourier, impl={impl}, {kind}"
                    bench.row(name, f"L={length:,}", own[i], peer[i] if peer else None, against="fftn(x.float()).real")


def complex_transform(x: Tensor) -> Tensor:
    return torch.fft.fftn(x.float(), dim=(1, 2)).real.to(x.dtype)
