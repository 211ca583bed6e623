"""One streaming step: its time must not depend on what was seen before."""

from __future__ import annotations

from collections.abc import Callable

import torch
from benchmarks.harness import SEED, Row, compared, publish, timings, verify
from torch import Tensor

from formers import ops
from formers.ops import LinearState
from formers.ops.linear_attention import naive

NOTES = "float32, B=1, H=8, K=V=64, one token. A hundred steps are timed at once."
HEADS, WIDTH = 8, 64


def linear(t: Tensor, state: LinearState | None) -> LinearState:
    return ops.linear_attention(t, t, t, causal=True, state=state)[1]


def dense(t: Tensor, state: LinearState | None) -> LinearState:
    return ops.dense_attention(t, t, causal=True, state=state)[1]


def rows_of(name: str, op: Callable[[Tensor, LinearState | None], LinearState]) -> list[Row]:
    token = torch.rand(1, HEADS, 1, WIDTH)

    def hundred(seen: int) -> Callable[[], None]:
        state = op(torch.rand(1, HEADS, seen, WIDTH), None)

        def call() -> None:
            after = state
            for _ in range(100):
                after = op(token, after)

        return call

    calls = {f"itself after {seen} tokens": hundred(seen) for seen in (128, 65536)}
    with torch.no_grad():
        times = timings(calls, repeats=15)
    early, late = calls
    return [compared(f"{name}, 100 steps", "65,536 tokens seen", times, late, early, 1.1)]


def main() -> None:
    torch.manual_seed(SEED)
    given = [torch.rand(1, HEADS, 1, WIDTH) for _ in range(3)]
    state = LinearState(torch.rand(1, HEADS, WIDTH, WIDTH), torch.rand(1, HEADS, WIDTH))
    verify(
        lambda *t: ops.linear_attention(
            *t, causal=True, state=LinearState(state.s_bhmv.to(t[0]), state.z_bhm.to(t[0]))
        )[0],
        lambda *t: naive.linear_attention(
            *t, causal=True, state=LinearState(state.s_bhmv.to(t[0]), state.z_bhm.to(t[0]))
        )[0],
        given,
    )
    publish("step", "Streaming steps", NOTES, rows_of("linear", linear) + rows_of("dense", dense))


if __name__ == "__main__":
    main()
