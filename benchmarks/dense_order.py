"""Where dense attention is faster through the state than through the scores: the measure behind `STATE_FROM`."""

from __future__ import annotations

import torch
from benchmarks.harness import SEED, Row, compared, publish, timings, verify

from formers import ops
from formers.ops.linear_attention import matmul, naive

NOTES = (
    "float32, B=1, H=8, L=S, forward with the final state, as `dense_attention` gives it. A ratio below 1 means that "
    f"the state is faster; auto takes it from S = {matmul.STATE_FROM:g}·K on."
)


def rows_at(width: int, keys: int) -> list[Row]:
    q, x = (torch.randn(1, 8, keys, width) for _ in range(2))
    calls = {order: lambda order=order: ops.dense_attention(q, x, order=order) for order in ("state", "scores")}
    with torch.no_grad():
        times = timings(calls, repeats=31)
    return [compared("through the state", f"K={width}, S={keys / width:g}·K", times, "state", "scores")]


def main() -> None:
    torch.manual_seed(SEED)
    for order in ("state", "scores"):
        given = [torch.randn(1, 2, 70, 16), torch.randn(1, 2, 70, 16)]
        verify(
            lambda q, x, order=order: ops.dense_attention(q, x, order=order)[0],
            lambda q, x: naive.dense_attention(q, x)[0],
            given,
        )
    rows = [row for width in (64, 256) for part in (0.25, 0.5, 1, 2, 4) for row in rows_at(width, int(width * part))]
    publish("dense_order", "Dense attention: the order of its products", NOTES, rows)


if __name__ == "__main__":
    main()
