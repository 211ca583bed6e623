"""From which length a mixer is faster than softmax attention."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from benchmarks.harness import SEED, Row, publish, timings, train_step
from torch import Tensor

from formers.catalogue import CATALOGUE
from formers.mixers import (
    BigBird,
    Identity,
    Linformer,
    Longformer,
    Mixer,
    Performer,
    Softmax,
    Sparse,
    SparseTransformer,
)
from formers.part import Site
from formers.patterns import Strided, Window

HEADS, WIDTH = 8, 512
LENGTHS = (128, 256, 512, 1024, 2048, 4096, 8192)
CHOSEN: tuple[Mixer, ...] = (
    Sparse(pattern=Window(128)),
    Longformer(window=(128,)),
    BigBird(block=64),
    SparseTransformer(pattern=Strided(64)),
    Linformer(length=256),
    Performer(features=256),
)
"""Sizes as they are used; the other mixers with their defaults."""
NOTES = (
    f"float32, B=1, width {WIDTH}, {HEADS} heads, projections included, no positions. Every mixer whose cost grows "
    "slower than L², against softmax attention (SDPA) in the same place, causal where it can be, else over all pairs. "
    f"Lengths double from {LENGTHS[0]} on, until a mixer is faster, or to {LENGTHS[-1]}; the crossing is read off the "
    "straight line between the logarithms of the last two ratios. Times are those at the last length. Steps are "
    "forward and backward."
)


def mixers() -> list[Mixer]:
    """Every mixer with a cost below L²."""
    chosen = {type(part): part for part in CHOSEN}
    made = [chosen.get(kind) or kind() for kind in CATALOGUE if issubclass(kind, Mixer) and kind is not Identity]
    return [part for part in made if part.growth() < 2]


def call(part: Mixer, causal: bool, length: int, step: bool) -> Callable[[], object]:
    module = part.build(Site(width=WIDTH, heads=HEADS, causal=causal, context_length=length)).train(step)
    x = torch.randn(1, length, WIDTH, requires_grad=step)
    if step:
        return train_step(lambda x: module(x)[0], [x])

    def forward() -> Tensor:
        with torch.no_grad():
            return module(x)[0]

    return forward


def crossings(step: bool) -> list[Row]:
    """Each mixer's row, forward passes or steps."""
    left = dict.fromkeys(mixers(), (0, math.inf))  # the length before, and the ratio there
    rows = {}
    for length in LENGTHS:
        if not left:
            break
        kinds = {part: "causal" in part.abilities for part in left}
        softmax = {f"softmax {kind}": call(Softmax(), kind, length, step) for kind in set(kinds.values())}
        own = {str(part): call(part, kinds[part], length, step) for part in left}
        times = timings(softmax | own, repeats=7 if length < 2048 else 3, warmup=1)
        for part, (before, ratio) in list(left.items()):
            mine, peer = times[str(part)], times[f"softmax {kinds[part]}"]
            now = mine.median / peer.median
            rows[part] = Row(
                f"{part}, {'causal' if kinds[part] else 'all pairs'}, {'step' if step else 'forward'}",
                words(before, ratio, length, now),
                mine.median,
                peer.median,
                f"softmax, L={length}",
                spread=(mine.low, mine.high),
            )
            left[part] = (length, now)
            if now < 1:
                del left[part]
    return list(rows.values())


def words(before: int, ratio: float, length: int, now: float) -> str:
    """Where the ratio falls below 1, in words."""
    if now >= 1:
        return f"never faster up to L={length}"
    if not before:
        return f"faster at L={length} already"
    part = math.log(ratio) / (math.log(ratio) - math.log(now))
    return f"faster from L={before * (length / before) ** part:.0f} on"


def main() -> None:
    torch.manual_seed(SEED)
    publish("crossovers", "Crossover lengths", NOTES, crossings(step=False) + crossings(step=True))


if __name__ == "__main__":
    main()
