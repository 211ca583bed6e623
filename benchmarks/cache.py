"""One step of softmax attention: the growing cache against concatenating keys and values."""

from __future__ import annotations

from collections.abc import Callable

import torch
from benchmarks.harness import SEED, Row, compared, publish, timings

from formers.mixers.kv_cache import append
from formers.ops import attention

NOTES = (
    "float32, B=1, H=8, K=64; one token and its attention, two hundred times in a row. The peer concatenates keys and "
    "values as a plain cache does, which keeps no count of the tokens seen and cannot hold a mask; the attention is "
    "the same."
)
HEADS, WIDTH, STEPS = 8, 64, 200


def ours(seen: int) -> Callable[[], torch.Tensor]:
    past = [torch.randn(1, HEADS, seen, WIDTH) for _ in range(2)]
    token = torch.randn(1, HEADS, 1, WIDTH)
    start = append(None, *past, mask_bl=None, positions_bl=None)

    def call() -> torch.Tensor:
        state = start
        for _ in range(STEPS):
            state = append(state, token, token, mask_bl=None, positions_bl=None)
            y = attention(token, state.k_bgsk, state.values, causal=True)
        return y

    return call


def concatenating(seen: int) -> Callable[[], torch.Tensor]:
    past = [torch.randn(1, HEADS, seen, WIDTH) for _ in range(2)]
    token = torch.randn(1, HEADS, 1, WIDTH)

    def call() -> torch.Tensor:
        k, v = past
        for _ in range(STEPS):
            k, v = torch.cat([k, token], 2), torch.cat([v, token], 2)
            y = attention(token, k, v, causal=True)
        return y

    return call


def rows_at(seen: int) -> list[Row]:
    with torch.no_grad():
        times = timings({"growing cache": ours(seen), "concatenating": concatenating(seen)}, repeats=7)
    return [compared(f"softmax, {STEPS} steps", f"{seen} tokens seen", times, "growing cache", "concatenating", 1.0)]


def main() -> None:
    torch.manual_seed(SEED)
    publish("cache", "Softmax cache", NOTES, [row for seen in (128, 2048, 8192) for row in rows_at(seen)])


if __name__ == "__main__":
    main()
