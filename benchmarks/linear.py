"""Linear and dense attention against their matrix products alone and against softmax attention; memory against
length."""

from __future__ import annotations

import torch
from benchmarks.harness import SEED, Row, compared, peak_bytes, publish, square_product, timings, train_step, verify
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention as sdpa

from formers import ops
from formers.mixers import Linear, Mixer, Softmax, Taylor2
from formers.ops.linear_attention import chunks, naive
from formers.part import Site

HEADS, WIDTH = 8, 64
LENGTHS = (512, 2048, 8192)
NOTES = (
    "float32, B=1, H=8, K=V=64. The products alone: one square product with the floating-point operations of the "
    "forward pass, per head and token 4·K·V between chunks and, when causal, 2·C·(K+V) inside chunks of "
    f"C={chunks.CHUNK}."
)


def causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return ops.linear_attention(q, k, v, causal=True)[0]


def all_pairs(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return ops.linear_attention(q, k, v)[0]


def dense(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return ops.dense_attention(q, k)[0]


def dense_causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return ops.dense_attention(q, k, causal=True)[0]


def softmax_causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return sdpa(q, k, v, is_causal=True)


def inputs(length: int, *, grad: bool) -> list[Tensor]:
    return [torch.rand(1, HEADS, length, WIDTH, requires_grad=grad) for _ in range(3)]


def check() -> None:
    verify(causal, lambda q, k, v: naive.linear_attention(q, k, v, causal=True)[0], inputs(257, grad=False))
    verify(all_pairs, lambda q, k, v: naive.linear_attention(q, k, v)[0], inputs(257, grad=False))
    verify(dense, lambda q, k, v: naive.dense_attention(q, k)[0], inputs(257, grad=False))
    verify(dense_causal, lambda q, k, v: naive.dense_attention(q, k, causal=True)[0], inputs(257, grad=False))


def flops(length: int, *, inside: bool) -> float:
    return HEADS * length * (4 * WIDTH * WIDTH + inside * 2 * chunks.CHUNK * 2 * WIDTH)


def forward_rows(length: int) -> list[Row]:
    given = inputs(length, grad=False)
    calls = {
        "linear, causal": lambda: causal(*given),
        "linear, all pairs": lambda: all_pairs(*given),
        "dense, causal": lambda: dense_causal(*given),
        "dense, all pairs": lambda: dense(*given),
        "products alone, causal": square_product(flops(length, inside=True)),
        "products alone, all pairs": square_product(flops(length, inside=False)),
    }
    with torch.no_grad():
        times = timings(calls, repeats=15)
    rows = []
    for name in list(calls)[:4]:
        kind = name.split(", ")[1]
        limit = 3.0 if length >= 2048 else None
        rows.append(compared(f"{name}, forward", f"L={length}", times, name, f"products alone, {kind}", limit))
    return rows


def training_rows(length: int) -> list[Row]:
    given = inputs(length, grad=True)
    functions = {"linear, causal": causal, "dense, causal": dense_causal, "SDPA, causal": softmax_causal}
    functions |= {"linear, all pairs": all_pairs, "dense, all pairs": dense, "SDPA, all pairs": sdpa}
    if length > 2048:
        del functions["SDPA, all pairs"]  # half a minute for a known answer
    used = {name: given[:2] if name.startswith("dense") else given for name in functions}
    calls = {name: step(function, used[name], given) for name, function in functions.items()}
    times = timings(calls, repeats=5, warmup=1)
    limits = {512: 1.0, 2048: 1.0, 8192: 1 / 8}
    rows = []
    for name in ("linear, causal", "linear, all pairs", "dense, causal", "dense, all pairs"):
        peer = f"SDPA, {name.split(', ')[1]}"
        if peer in times:
            limit = limits[length] if name == "linear, causal" else None
            rows.append(compared(f"{name}, forward + backward", f"L={length}", times, name, peer, limit))
    return rows


def step(function, used: list[Tensor], given: list[Tensor]):  # type: ignore[no-untyped-def]
    """One training step; dense attention takes no values."""
    return train_step(lambda *t: function(*t, *given[len(t) :]), used)


def memory_rows() -> list[Row]:
    """Peak memory of forward + backward at twice the length."""
    rows = []
    for name, function in (("linear, causal", causal), ("linear, all pairs", all_pairs)):
        short, long = (peak_bytes(train_step(function, inputs(n, grad=True))) / 2**20 for n in (4096, 8192))
        rows.append(Row(f"{name}, peak memory", "L=8192", long, short, "itself at L=4096", 2.1, "MiB"))
    return rows


def short_rows() -> list[Row]:
    """Whole mixers where tokens are few."""
    rows = []
    for length in (32, 64, 128):
        x = torch.randn(16, length, 256, requires_grad=True)
        site = Site(width=256, heads=HEADS, causal=True, context_length=length)
        parts: dict[str, Mixer] = {"softmax": Softmax(), "linear": Linear(), "taylor2": Linear(feature=Taylor2())}
        modules = {name: part.build(site) for name, part in parts.items()}
        calls = {name: train_step(lambda x, m=m: m(x)[0], [x]) for name, m in modules.items()}
        times = timings(calls, repeats=15)
        for name in ("linear", "taylor2"):
            case = f"{parts[name]}, causal mixer, forward + backward"
            rows.append(compared(case, f"B=16, D=256, L={length}", times, name, "softmax", 2.0))
    return rows


def main() -> None:
    torch.manual_seed(SEED)
    check()
    rows = [row for length in LENGTHS for row in forward_rows(length) + training_rows(length)]
    publish("linear", "Linear and dense attention", NOTES, rows + short_rows() + memory_rows())


if __name__ == "__main__":
    main()
