"""How many steps tokens have learnt to take: the models of a study with `act()`, on held-out sequences of its task.

    formers ablate docs/studies/act-sort.yaml
    python examples/act_steps.py studies/act-sort --save act_steps.png

Left: the mean number of steps at each place of a sequence, seed by seed. Right: how many tokens take 1, 2, … steps.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForTokenClassification

from formers.computation import Act
from formers.lab import read_study
from formers.models import steps_taken
from formers.tasks import Recall, Sort, Task


@dataclass(frozen=True)
class Learnt:
    """The steps of one trained model on held-out sequences, (sequences, places)."""

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


def study(models: Path, task: Task) -> list[Learnt]:
    """Return what the models in a folder have learnt, of those whose tokens decide. Raise ValueError if none do."""
    kind = AutoModelForTokenClassification if isinstance(task, Sort) else AutoModelForCausalLM
    found = []
    for folder in sorted(path.parent for path in models.glob("*/config.json")):
        model = kind.from_pretrained(folder).eval()
        part = model.config.computation
        if isinstance(part, Act):
            steps_bl = steps_taken(model, sequences(task))
            found.append(Learnt(folder.name, part.ponder, model.config.depth, steps_bl))
    if not found:
        raise ValueError(f"no model in {models} decides how many steps a token takes; train some with computation=act")
    return found


def sequences(task: Task) -> Tensor:
    """Return held-out sequences, (B, L). Raise TypeError for a task that has none of one length."""
    if isinstance(task, Sort):
        return task.held_out("test")[0]
    if isinstance(task, Recall):
        return task.held_out("test", task.pairs)[0]
    raise TypeError(f"sort and recall have sequences whose places mean something, but {task} was given")


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
    left.set(xlabel="place in the sequence", ylabel="mean steps", ylim=(0, learnt[0].most))
    right.set(xlabel="steps", ylabel="share of tokens", xticks=range(1, learnt[0].most + 1), ylim=(0, 1))
    right.legend(fontsize=8)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Read the models, print the mean steps of each, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the folder of a study")
    parser.add_argument("--save", type=Path, help="where to save the picture (PNG)")
    options = parser.parse_args()
    learnt = study(options.folder / "models", read_study(options.folder / "study.yaml").task)
    for one in learnt:
        print(f"{one.name}: {one.steps_bl.double().mean():.2f} of {one.most} steps, ponder={one.ponder:g}")
    if options.save:
        draw(learnt, options.save)


if __name__ == "__main__":
    main()
