"""Metric attention against softmax attention of the same heads and width."""

from __future__ import annotations

import torch
from benchmarks.harness import SEED, Row, compared, peak_bytes, publish, timings, train_step, verify
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention as sdpa

from formers import ops
from formers.ops.attention import naive

HEADS, WIDTH = 8, 64
NOTES = "float32, B=1, H=8, K=64; forward + backward, gradients of p and M, against SDPA with gradients of q, k and v."


def inputs(length: int) -> tuple[list[Tensor], list[Tensor]]:
    """For metric attention (p, M), for softmax attention (q, k, v)."""
    metric = [torch.randn(1, HEADS, length, WIDTH), torch.eye(WIDTH).repeat(HEADS, 1, 1)]
    softmax = [torch.randn(1, HEADS, length, WIDTH) for _ in range(3)]
    return [t.requires_grad_() for t in metric], [t.requires_grad_() for t in softmax]


def rows_at(length: int) -> list[Row]:
    metric, softmax = inputs(length)
    calls = {"metric": train_step(ops.metric_attention, metric), "SDPA": train_step(sdpa, softmax)}
    times = timings(calls, repeats=5 if length > 2048 else 9, warmup=1)
    return [compared("metric, forward + backward", f"L={length}", times, "metric", "SDPA", 1.2)]


def main() -> None:
    torch.manual_seed(SEED)
    m = torch.randn(HEADS, WIDTH, WIDTH) / WIDTH**0.5  # scores of about unit size, as softmax attention has
    verify(ops.metric_attention, naive.metric_attention, [inputs(129)[0][0], (m + m.mT) / 2**0.5])
    rows = [row for length in (512, 2048, 8192) for row in rows_at(length)]
    short, long = (peak_bytes(train_step(ops.metric_attention, inputs(n)[0])) / 2**20 for n in (1024, 2048))
    rows.append(Row("metric, peak memory", "L=2048", long, short, "itself at L=1024", 2.1, "MiB"))
    publish("metric", "Metric attention", NOTES, rows)


if __name__ == "__main__":
    main()
