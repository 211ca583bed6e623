"""Scores of far tokens under rotary positions and under DenseAttention's cosines.

    python examples/far_scores.py --save far_scores.png

A query and a key of the same content are 1 in every feature. With frequencies θ_m = 10000^{−m/M}, their score at the
positions i + x and i is, as a mean over features,

    rotary     cos(xθ_m)                                   the same for every i
    cosine     cos((i + x)θ_m) cos(iθ_m) = ½cos(xθ_m) + ½cos((2i + x)θ_m)

What is measured is the root mean square of the score over places i, against the distance x, relative to that at x = 0:
of all features together, and of one alone, which turns once in 100 tokens.

Sources: Su et al. 2021, arXiv:2104.09864, section 3.4.3 (rotary scores decay with the distance); Argatkiny & Makarov
2025 (DenseAttention), appendix H (cosines).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from formers.part import Site
from formers.positions import Cosine, Rotary

WIDTH, PLACES = 128, 4096
DISTANCES = tuple(sorted({round(2 ** (n / 4)) for n in range(52)} | {0}))
TURN = 100
"""Tokens in which the single feature turns once."""
ONE_SHOWN = 128
"""The longest distance in the picture of one feature."""
Positioned: TypeAlias = Callable[[Tensor], Tensor]
"""positions (L) → a vector of ones at these positions, (L, D)."""


def rotary() -> Positioned:
    """Return ones turned by rotary positions."""
    module = Rotary().build(Site(width=WIDTH, heads=1, causal=True))
    return lambda at: module(torch.ones(1, 1, len(at), WIDTH, dtype=torch.float64), at[None])[0, 0]


def cosine(wave: str = "cos") -> Positioned:
    """Return ones under cosine positions."""
    module = Cosine(wave=wave).build(Site(width=WIDTH, heads=1, causal=True))
    return lambda at: module(torch.ones(1, len(at), WIDTH, dtype=torch.float64), at[None])[0]


ARMS: dict[str, Positioned] = {"rotary": rotary(), "cosine": cosine(), "cosine, cos − sin": cosine("cos-sin")}


def score(positioned: Positioned, x: int, places: Tensor) -> Tensor:
    """Return the score of equal tokens x apart, for each place of the earlier one, (L)."""
    return (positioned(places + x) * positioned(places)).sum(-1)


def study(distances: tuple[int, ...] = DISTANCES, places: int = PLACES) -> dict[str, dict[int, float]]:
    """Return for each position and distance the root mean square over places, relative to distance 0."""
    at = torch.arange(places)
    found = {}
    for name, positioned in ARMS.items():
        sizes = {x: float(score(positioned, x, at).square().mean().sqrt()) for x in (0, *distances)}
        found[name] = {x: sizes[x] / sizes[0] for x in distances}
    return found


def one_feature(distances: tuple[int, ...], places: int = PLACES) -> dict[str, dict[int, float]]:
    """Return the same for one feature alone, from the formulas above."""
    at, theta = torch.arange(places, dtype=torch.float64), 2 * math.pi / TURN
    found: dict[str, dict[int, float]] = {"rotary": {x: abs(math.cos(x * theta)) for x in distances}}
    sizes = {x: float((((at + x) * theta).cos() * (at * theta).cos()).square().mean().sqrt()) for x in (0, *distances)}
    found["cosine"] = {x: sizes[x] / sizes[0] for x in distances}
    return found


def draw(found: dict[str, dict[int, float]], alone: dict[str, dict[int, float]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, curves, title in (
        (left, found, f"{WIDTH} features that agree"),
        (right, alone, f"one feature, turning once in {TURN} tokens"),
    ):
        for name, sizes in curves.items():
            axes.plot(list(sizes), list(sizes.values()), label=name)
        axes.set(xlabel="distance x", ylim=(0, 1.05), title=title)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    left.set(xscale="symlog", xlim=(0, None), ylabel="score, relative to that at x = 0")
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", type=Path, help="where to save the picture (PNG)")
    arguments = parser.parse_args()
    found, alone = study(), one_feature(tuple(range(ONE_SHOWN + 1)))
    shown = (1, 16, 64, 256, 1024, 4096)
    print(f"score relative to distance 0\n{'':20}" + "".join(f"{x:>8}" for x in shown))
    for name, sizes in found.items():
        print(f"{name:20}" + "".join(f"{sizes[x]:8.3f}" for x in shown))
    for name, sizes in alone.items():
        print(f"one feature, {name:8} least {min(sizes.values()):.3f}, mean {sum(sizes.values()) / len(sizes):.3f}")
    if arguments.save:
        draw(found, alone, arguments.save)


if __name__ == "__main__":
    main()
