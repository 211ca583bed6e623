"""How many steps tokens have learnt to take: the models of a study with `act()`, on arrays that are to be sorted.

    formers ablate docs/studies/act-sort.yaml
    python examples/act_steps.py studies/act-sort/models --save act_steps.png

Left: the mean number of steps at each place of the array, seed by seed. Right: how many tokens take 1, 2, … steps.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor
from transformers import AutoModelForTokenClassification

from formers import TokenClassifier
from formers.computation import Act
from formers.models import steps_taken
from formers.tasks import Sort


@dataclass(frozen=True)
class Learnt:
    """The steps of one trained model on held-out arrays, (arrays, places)."""

    name: str
    ponder: float
    most: int
    steps_bl: Tensor

    @property
    def by_place(self) -> list[float]:
        """The mean number of steps at each place."""
        means: list[float] = self.steps_bl.double().mean(0).tolist()
        return means

    @property
    def shares(self) -> list[float]:
        """The share of tokens that take 1, 2, … steps."""
        counts = self.steps_bl.flatten().bincount(minlength=self.most + 1)[1:]
        shares: list[float] = (counts / counts.sum()).tolist()
        return shares


def study(models: Path, task: Sort) -> list[Learnt]:
    """Return what the models in a folder have learnt, of those whose tokens decide. Raise ValueError if none do."""
    arrays, _ = task.held_out("test")
    found = []
    for folder in sorted(path.parent for path in models.glob("*/config.json")):
        model: TokenClassifier = AutoModelForTokenClassification.from_pretrained(folder).eval()
        part = model.config.computation
        if isinstance(part, Act):
            found.append(Learnt(folder.name, part.ponder, model.config.depth, steps_taken(model, arrays)))
    if not found:
        raise ValueError(f"no model in {models} decides how many steps a token takes; train some with computation=act")
    return found


def draw(learnt: list[Learnt], path: Path) -> None:
    """Draw both charts into a file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    costs = sorted({one.ponder for one in learnt})
    width = 0.8 / len(learnt)
    for n, one in enumerate(learnt):
        colour = f"C{costs.index(one.ponder)}"
        label = f"ponder={one.ponder:g}, seed {n % max(1, len(learnt) // len(costs))}"
        style = "-" if label.endswith("0") else "--"
        left.plot(range(1, len(one.by_place) + 1), one.by_place, style, color=colour)
        places = [step + (n - (len(learnt) - 1) / 2) * width for step in range(1, one.most + 1)]
        right.bar(places, one.shares, width, color=colour, alpha=1 if style == "-" else 0.6, label=label)
    left.set(xlabel="place in the array", ylabel="mean steps", ylim=(0, learnt[0].most))
    right.set(xlabel="steps", ylabel="share of tokens", xticks=range(1, learnt[0].most + 1), ylim=(0, 1))
    right.legend(fontsize=8)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Read the models, print the mean steps of each, and draw."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("models", type=Path, help="the folder of models of a study")
    arguments.add_argument("--length", type=int, default=12, help="symbols in an array")
    arguments.add_argument("--save", type=Path, help="where to draw")
    options = arguments.parse_args()
    learnt = study(options.models, Sort(length=options.length))
    for one in learnt:
        print(f"{one.name}: {one.steps_bl.double().mean():.2f} of {one.most} steps, ponder={one.ponder:g}")
    if options.save:
        draw(learnt, options.save)


if __name__ == "__main__":
    main()
