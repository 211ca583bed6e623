"""How far Performer is from softmax attention, against its number of random features.

    python examples/performer_error.py --save performer_error.png

After figure 4 of Choromanski et al. 2021, arXiv:2009.14794: directions that are orthogonal within each block of K
against independent ones, and positive against hyperbolic and trigonometric features, which estimate the same kernel.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

import torch
from torch import Tensor

from formers.mixers import Favor
from formers.ops import attention, linear_attention

WIDTH = 16
FEATURES = (16, 32, 64, 128, 256, 512)
SIZES = (0.5, 1.0)
"""Standard deviations of queries and keys: nearly flat softmax, and a sharper one."""
ARMS = {
    "positive, orthogonal": Favor(kind="positive", orthogonal=True),
    "positive, independent": Favor(kind="positive", orthogonal=False),
    "hyperbolic, orthogonal": Favor(kind="hyperbolic", orthogonal=True),
    "trigonometric, orthogonal": Favor(kind="trigonometric", orthogonal=True),
    "trigonometric, independent": Favor(kind="trigonometric", orthogonal=False),
}


@dataclass(frozen=True)
class Errors:
    """Mean squared errors of several draws, relative to the mean square of softmax attention's output."""

    draws: list[float]

    @property
    def quarters(self) -> tuple[float, float, float]:
        """Return the quarter point, the median and the three-quarter point."""
        low, middle, high = quantiles(self.draws, n=4)
        return low, middle, high


def study(
    features: tuple[int, ...] = FEATURES, draws: int = 40, length: int = 256, size: float = 1.0
) -> dict[str, dict[int, Errors]]:
    """Return the errors of every arm for every number of features.

    `size` scales queries and keys, and so the sharpness of softmax.
    """
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 1, length, WIDTH) for _ in range(3))
    q, k = size * q, size * k
    exact = attention(q, k, v)
    return {
        name: {m: Errors([error(arm.swap(features=m), q, k, v, exact) for _ in range(draws)]) for m in features}
        for name, arm in ARMS.items()
    }


@torch.no_grad()
def error(arm: Favor, q: Tensor, k: Tensor, v: Tensor, exact: Tensor) -> float:
    """Return the error of one draw of random directions."""
    feature = arm.build(q.shape[3]).eval()
    y, _ = linear_attention(feature(q, query=True), feature(k), v, floor=arm.floor())
    return float((y - exact).square().mean() / exact.square().mean())


def draw(found: dict[float, dict[str, dict[int, Errors]]], path: Path) -> None:
    """Draw one panel for each size of queries and keys."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), dpi=110, layout="constrained")
    for axes, (size, arms) in zip(figure.subplots(1, len(found), sharey=True), found.items(), strict=True):
        for name, errors in arms.items():
            kind, directions = name.split(", ")
            color = {"positive": "C0", "hyperbolic": "C2", "trigonometric": "C3"}[kind]
            low, middle, high = zip(*(e.quarters for e in errors.values()), strict=True)
            axes.plot(list(errors), middle, "o-" if directions == "orthogonal" else "s--", color=color, label=name)
            axes.fill_between(list(errors), low, high, color=color, alpha=0.12)
        axes.set(xscale="log", yscale="log", xlabel="features M", title=f"queries and keys N(0, {size:g}²)")
        axes.set_xticks(FEATURES, [str(m) for m in FEATURES])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.label_outer()
    figure.axes[0].set_ylabel("squared error / square of the output")
    figure.axes[0].legend(fontsize=8)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", type=Path, help="where to save the picture (PNG)")
    arguments = parser.parse_args()
    found = {size: study(size=size) for size in SIZES}
    for size, arms in found.items():
        print(f"\nqueries and keys N(0, {size:g}²), median error relative to the square of the output")
        print(f"{'features':28}" + "".join(f"{m:>9}" for m in FEATURES))
        for name, errors in arms.items():
            print(f"{name:28}" + "".join(f"{e.quarters[1]:9.3g}" for e in errors.values()))
    if arguments.save:
        draw(found, arguments.save)


if __name__ == "__main__":
    main()
