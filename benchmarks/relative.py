"""Relative positions against the same attention without one."""

from __future__ import annotations

import torch
from benchmarks.harness import SEED, Row, compared, peak_bytes, publish, timings, train_step
from torch import Tensor, nn

from formers.mixers import Softmax
from formers.part import Site
from formers.positions import T5, Alibi, Da, Position, Shaw, Xl

WIDTH, HEADS = 512, 8
POSITIONS: dict[str, tuple[Position, float | None]] = {
    "shaw": (Shaw(), 2.0),
    "shaw, keys alone": (Shaw(values=False), 2.0),
    "xl": (Xl(), 2.0),
    "t5": (T5(), None),
    "da": (Da(), None),
    "alibi": (Alibi(), None),
}
"""Name → the position, and how many times as long the mixer may take with it; None where there is no target."""
PEER = "without a position"
NOTES = (
    f"float32, B=1, D={WIDTH}, H={HEADS}: `softmax()`, causal, with its projections, forward + backward with gradients "
    "of the input and all parameters, against the same without a position, which takes torch's fused kernel."
)


def step_of(position: Position | None, length: int) -> tuple[nn.Module, list[Tensor]]:
    """Return the mixer and its inputs: the tokens, and every parameter, to be differentiated."""
    site = Site(width=WIDTH, heads=HEADS, causal=True, context_length=length, position=position)
    module = Softmax().build(site)
    return module, [torch.randn(1, length, WIDTH, requires_grad=True), *module.parameters()]


def rows_at(length: int) -> list[Row]:
    calls = {}
    for name, (position, _) in {PEER: (None, None), **POSITIONS}.items():
        module, inputs = step_of(position, length)
        calls[name] = train_step(lambda x, *_, module=module: module(x)[0], inputs)
    times = timings(calls, repeats=5 if length > 1024 else 9, warmup=1)
    limits = {name: limit if length == 2048 else None for name, (_, limit) in POSITIONS.items()}
    rows = [compared(f"{name}, forward + backward", f"L={length}", times, name, PEER, limits[name]) for name in limits]
    plain = peak_bytes(calls[PEER]) / 2**20
    for name in ("shaw", "xl"):
        peak = peak_bytes(calls[name]) / 2**20
        rows.append(Row(f"{name}, peak memory", f"L={length}", peak, plain, PEER, None, "MiB"))
    return rows


def main() -> None:
    torch.manual_seed(SEED)
    publish("relative", "Relative positions", NOTES, [row for length in (512, 2048, 4096) for row in rows_at(length)])


if __name__ == "__main__":
    main()
