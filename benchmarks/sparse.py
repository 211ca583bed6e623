"""Sparse attention against what a user would pick instead: FlexAttention, local-attention where it is installed,
SDPA."""

from __future__ import annotations

import math
from importlib.util import find_spec

import torch
from benchmarks.harness import SEED, Row, compared, peak_bytes, publish, timings, train_step, verify
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.nn.functional import scaled_dot_product_attention as sdpa

from formers.ops import sparse_attention
from formers.ops.sparse_attention import block_lists
from formers.patterns import Edges, Fixed, Global, Neighbours, Pattern, Random, Strided, Window

HEADS, WIDTH, WINDOW = 8, 64, 128
LENGTHS = (2048, 8192, 16384)
MEMORY_LENGTHS = (4096, 8192, 16384, 65536)
PATTERNS: dict[str, Pattern] = {
    "window 128": Window(WINDOW),
    "window 128 and a global token": Window(WINDOW) | Global(0),
    "dilated window 32, every 4th": Window(32, dilation=4),
    "strided columns, l = 128": Strided(128, "columns"),
    "fixed, l = 128, c = 8": Fixed(128, 8),
    "BigBird, blocks of 64, 3 random": Neighbours(64) | Edges(64) | Random(3, block=64),
}
NOTES = (
    "float32, causal, B=1, H=8, K=V=64, as (B, L, H, K) in memory. FlexAttention is compiled and has no gradients on a "
    "CPU; local-attention is measured where it is installed. Growth is compared with that of the pairs that the "
    "pattern has: with l fixed, columns and summaries grow with L²/l, and the paper's √L·L is for l = √L."
)


def ours(pattern: Pattern):  # type: ignore[no-untyped-def]
    return lambda q, k, v: sparse_attention(q, k, v, pattern, causal=True)


def inputs(length: int, *, grad: bool) -> list[Tensor]:
    return [torch.randn(1, length, HEADS, WIDTH).transpose(1, 2).requires_grad_(grad) for _ in range(3)]


def check() -> None:
    for pattern in PATTERNS.values():
        verify(
            ours(pattern),
            lambda q, k, v, pattern=pattern: sparse_attention(q, k, v, pattern, causal=True, impl="naive"),
            inputs(257, grad=False),
        )


def peers(length: int, *, grad: bool):  # type: ignore[no-untyped-def]
    """What else computes a causal window."""
    found = {}
    if find_spec("local_attention"):
        from local_attention import LocalAttention

        local = LocalAttention(window_size=WINDOW, causal=True, autopad=True, use_rotary_pos_emb=False)
        found["local-attention"] = lambda q, k, v: local(q, k, v)
    if not grad:
        mask = create_block_mask(
            lambda b, h, i, j: (j <= i) & (i - j < WINDOW), None, None, length, length, "cpu", BLOCK_SIZE=WINDOW
        )
        compiled = torch.compile(flex_attention, dynamic=False)
        found["FlexAttention, compiled"] = lambda q, k, v: compiled(q, k, v, block_mask=mask)
    if length <= 8192:
        found["SDPA, causal"] = lambda q, k, v: sdpa(q, k, v, is_causal=True)
    return found


def window_rows(length: int) -> list[Row]:
    """The window against each peer, forward and training step."""
    rows = []
    for grad, what in ((False, "forward"), (True, "forward + backward")):
        given = inputs(length, grad=grad)
        calls = {"window": ours(Window(WINDOW)), **peers(length, grad=grad)}
        with torch.set_grad_enabled(grad):
            steps = {
                name: train_step(call, given) if grad else (lambda call=call, given=given: call(*given))
                for name, call in calls.items()
            }
            times = timings(steps, repeats=5)
        limits = {"local-attention": 1 / 3, "FlexAttention, compiled": 1.0} if length == 8192 else {}
        rows += [
            compared(f"window 128, {what}", f"L={length}", times, "window", peer, limits.get(peer))
            for peer in calls
            if peer != "window"
        ]
    return rows


def pattern_rows() -> list[Row]:
    """Every pattern's training step at 16,384 tokens against the same at 2,048, as an exponent."""
    rows = []
    for name, pattern in PATTERNS.items():
        calls = {f"L={n}": train_step(ours(pattern), inputs(n, grad=True)) for n in (LENGTHS[0], LENGTHS[-1])}
        short, long = (timed.median for timed in timings(calls, repeats=5).values())
        few, many = (block_lists(pattern.resolve(length=n, causal=True), n, n).pairs for n in (LENGTHS[0], LENGTHS[-1]))
        setting = f"L={LENGTHS[0]} → {LENGTHS[-1]}"
        case = f"{name}, forward + backward, growth"
        rows.append(Row(case, setting, exponent(short, long), exponent(few, many), "its pairs", 1.1, "exponent"))
    return rows


def exponent(short: float, long: float) -> float:
    return math.log2(long / short) / math.log2(LENGTHS[-1] / LENGTHS[0])


def memory_rows() -> list[Row]:
    """Peak memory beside the inputs: it doubles with the length, and the longest inputs need a few GiB."""
    rows = []
    for name in ("window 128", "window 128 and a global token", "BigBird, blocks of 64, 3 random"):
        peaks = {n: peak_bytes(train_step(ours(PATTERNS[name]), inputs(n, grad=True))) / 2**20 for n in MEMORY_LENGTHS}
        case = f"{name}, forward + backward, peak memory"
        rows.append(Row(case, "L=8192", peaks[8192], peaks[4096], "itself at L=4096", 2.1, "MiB"))
        rows += [Row(case, f"L={n}", peaks[n], 4096.0, "4 GiB", 1.0, "MiB") for n in (16384, 65536)]
    return rows


def main() -> None:
    torch.manual_seed(SEED)
    check()
    rows = [row for length in LENGTHS[:2] for row in window_rows(length)]
    publish("sparse", "Sparse attention", NOTES, rows + pattern_rows() + memory_rows())


if __name__ == "__main__":
    main()
