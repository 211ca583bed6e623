"""Memories in evaluation: text read with a memory against a window computed again for every token, and sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from benchmarks.harness import SEED, Row, compared, publish, timings

from formers.models import CausalLM, StateCache, TransformerConfig

MEMORY = 512
TOKENS, SEGMENT = 8, 64
NOTES = (
    f"float32, one thread, one sequence; 4 layers of width 256, 8 heads, position xl, memory {MEMORY}. Milliseconds a "
    f"token. The window is the {MEMORY} tokens before and the new one, through the whole model again for every token. "
    "With the memory, which is full, tokens come one by one, or in segments of 64. In one layer both give the same, "
    "which is checked first; in several the memory reaches further. Sizes are those of the state in evaluation."
)
SIZES: dict[str, Any] = {"vocab_size": 65, "width": 256, "heads": 8, "position": "xl"}


def model(memory: str, depth: int = 4) -> Any:
    torch.manual_seed(SEED)
    return CausalLM(TransformerConfig(**SIZES, depth=depth, memory=memory)).eval()


def read_on(lm: Any, ids: torch.Tensor, start: int, size: int) -> Callable[[], torch.Tensor]:
    """Read the tokens from `start` on in segments, from the memory of those before."""
    full = StateCache()
    for part in ids[:, :start].split(MEMORY, 1):
        lm(part, past_key_values=full)
    states = full.states

    def call() -> torch.Tensor:
        cache = StateCache()
        for layer, state in zip(full.layers, states, strict=True):
            layer.state = state  # a state is a value: each call goes on from the same one
        cache.layers[:] = full.layers
        return torch.cat([lm(part, past_key_values=cache).logits for part in ids[:, start:].split(size, 1)], 1)

    return call


def read_again(lm: Any, ids: torch.Tensor, start: int) -> Callable[[], torch.Tensor]:
    """Read a window anew for each of the tokens from `start` on."""

    def call() -> torch.Tensor:
        windows = (ids[:, i - MEMORY : i + 1] for i in range(start, ids.shape[1]))
        return torch.cat([lm(window, use_cache=False, logits_to_keep=1).logits for window in windows], 1)

    return call


def check_that_both_are_the_same() -> None:
    """In one layer, a memory of 512 tokens and a window of 512 tokens before the new one see the same."""
    lm, ids = model(f"recurrent(length={MEMORY})", depth=1), torch.randint(65, (1, 2 * MEMORY + 3))
    once, again = read_on(lm, ids, 2 * MEMORY, 1)(), read_again(lm, ids, 2 * MEMORY)()
    torch.testing.assert_close(once, again, rtol=0, atol=1e-4)


def reading() -> list[Row]:
    lm, start = model(f"recurrent(length={MEMORY})"), 2 * MEMORY
    compressive = model(f"compressive(length={MEMORY // 2}, compressed={MEMORY // 2}, rate=3)")
    ids = torch.randint(65, (1, start + SEGMENT))
    few = ids[:, : start + TOKENS]
    calls = {
        "one by one": (read_on(lm, few, start, 1), TOKENS),
        "compressive, one by one": (read_on(compressive, few, start, 1), TOKENS),
        "in segments": (read_on(lm, ids, start, SEGMENT), SEGMENT),
        "window again": (read_again(lm, few, start), TOKENS),
    }
    times = timings({name: call for name, (call, _) in calls.items()}, repeats=3, warmup=1)
    each = {
        name: type(times[name])(*(value / count for value in vars(times[name]).values()))
        for name, (_, count) in calls.items()
    }
    limits = {"one by one": 0.1, "compressive, one by one": None, "in segments": 0.1}
    setting = f"memory {MEMORY}"
    return [compared(f"read {name}", setting, each, name, "window again", limit) for name, limit in limits.items()]


def sizes() -> list[Row]:
    """States after 512 and after 8,192 tokens, in KiB."""
    promised = {
        f"recurrent(length={MEMORY})": 1.0,
        f"compressive(length={MEMORY // 2}, compressed={MEMORY // 4}, rate=2)": 1.0,
        "none": None,
    }
    rows = []
    for memory, limit in promised.items():
        lm = model(memory)
        small, large = (lm.state_bytes(tokens) / 1024 for tokens in (MEMORY, 16 * MEMORY))
        rows.append(Row(f"state, {memory}", "8,192 tokens", large, small, "after 512", limit, unit="KiB"))
    return rows


@torch.no_grad()
def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    check_that_both_are_the_same()
    publish("memory", "Memories", NOTES, [*reading(), *sizes()])


if __name__ == "__main__":
    main()
