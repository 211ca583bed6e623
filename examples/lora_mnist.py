"""LoRA on digits: a small network adapts to changed images with few weights, or learns them from scratch with as few.

    python examples/lora_mnist.py --save lora_mnist.png

After pre-training on MNIST, a network 784-64-64-10 meets the same digits quantised, rotated and inverted: as it is,
after full fine-tuning, and after LoRA (arXiv:2106.09685) of rank 1 to 64 in all three layers, by PEFT, the extra
`adapt`. Beside that, networks of which every weight is a product A B of rank r are trained from scratch. One epoch
each. Ctrl-C loses nothing but the training that runs: the same command goes on.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path

import peft
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from formers.lab.report.confidence_interval import estimate
from formers.lab.report.estimate_text import estimate_text
from formers.machine.files import write_atomically
from formers.plot.number_format import count
from formers.tasks.mnist.files import Digits, find_digits, read_digits

SIZES = (784, 64, 64, 10)
RANKS = (1, 2, 4, 8, 16, 32, 64)
BATCH, RATE = 128, 1e-3
MEAN, DEVIATION = 0.1307, 0.3081
"""Of MNIST's pixels, with which all images are standardised. With pixels left between 0 and 1, LoRA learns nothing of
inverted images: too many hidden units are dead on them, and frozen biases cannot revive these."""
CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "MNIST": lambda pixels: pixels,
    "quantised": torch.round,
    "rotated": lambda pixels: pixels.flip(1, 2),
    "inverted": lambda pixels: 1 - pixels,
}
"""Kind of images → what is done to pixels between 0 and 1, (N, 28, 28)."""
CHANGED = tuple(CHANGES)[1:]
METHODS = {
    "before": "before adaptation",
    "full": "full fine-tuning",
    "lora": "LoRA",
    "scratch": "from scratch, W = A B",
}


@dataclass(frozen=True)
class Training:
    """One line of the results.

    Attributes:
        seed: of initial weights, and of the order of images.
        method: one of `METHODS`.
        images: the kind of images that it is adapted to, or trained on, and tested on.
        rank: of LoRA or of A B; 0 for methods without one.
        parameters: that are trained for it.
        accuracy: on the 10,000 test images, in per cent.
    """

    seed: int
    method: str
    images: str
    rank: int = 0
    parameters: int = 0
    accuracy: float = 0.0

    @property
    def key(self) -> tuple[int, str, str, int]:
        """The training, without what came out of it."""
        return self.seed, self.method, self.images, self.rank


PUBLISHED: dict[tuple[str, str], dict[int, float]] = {
    ("before", "MNIST"): {0: 93.2},
    ("before", "quantised"): {0: 85.58},
    ("before", "rotated"): {0: 12.38},
    ("before", "inverted"): {0: 5.52},
    ("full", "quantised"): {0: 93.57},
    ("full", "rotated"): {0: 91.97},
    ("full", "inverted"): {0: 76.41},
    ("lora", "quantised"): {1: 91.20, 64: 93.19},
    ("lora", "rotated"): dict(zip(RANKS, (37.53, 49.01, 69.10, 77.49, 86.95, 89.50, 90.41), strict=True)),
    ("lora", "inverted"): dict(zip(RANKS, (16.23, 17.92, 16.32, 32.19, 62.26, 68.06, 71.88), strict=True)),
    ("scratch", "MNIST"): dict(zip(RANKS, (56.79, 71.90, 84.44, 89.12, 92.64, 93.98, 94.85), strict=True)),
    ("scratch", "quantised"): {1: 23.5, 64: 91.66},
    ("scratch", "rotated"): {1: 25.91, 64: 91.85},
    ("scratch", "inverted"): {1: 22.21, 64: 86.01},
}
"""Method and images → rank → published accuracy in per cent; optimiser, rate and length of training are not known."""


def planned(seeds: Sequence[int], ranks: Sequence[int]) -> list[Training]:
    """Return every training of the study, seed by seed; `before` comes first, since others start from its network."""
    return [
        Training(seed, method, images, rank)
        for seed in seeds
        for method, kinds, sizes in (
            ("before", CHANGES, [0]),
            ("full", CHANGED, [0]),
            ("lora", CHANGED, ranks),
            ("scratch", CHANGES, ranks),
        )
        for images in kinds
        for rank in sizes
    ]


class Study:
    """The trainings on one copy of MNIST, of which `most` training images are used; all by default."""

    def __init__(self, path: str | None = None, most: int | None = None):
        place = find_digits(path)
        train, self.test = (read_digits(place, part) for part in ("train", "test"))
        self.train = Digits(train.images[:most], train.labels[:most])
        self._pretrained: dict[int, nn.Module] = {}

    def run(self, it: Training) -> Training:
        """Return the training with what came out of it."""
        torch.manual_seed(it.seed)
        if it.method == "before":
            network = self.pretrained(it.seed)
            return replace(it, parameters=_trained_parameters(network), accuracy=self.accuracy(network, it.images))
        network = self._start(it)
        self.fit(network, it.images)
        parameters = _trained_parameters(network)
        if isinstance(network, peft.PeftModel):
            network = network.merge_and_unload()
        return replace(it, parameters=parameters, accuracy=self.accuracy(network, it.images))

    def _start(self, it: Training) -> nn.Module:
        """Return the network that a training starts with."""
        if it.method == "scratch":
            return mlp(it.rank)
        network = copy.deepcopy(self.pretrained(it.seed))
        if it.method == "full":
            return network
        layers = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
        return peft.get_peft_model(network, peft.LoraConfig(r=it.rank, lora_alpha=it.rank, target_modules=layers))

    def pretrained(self, seed: int) -> nn.Module:
        """Return the network that knows MNIST as it is, trained when it is first asked for."""
        if seed not in self._pretrained:
            torch.manual_seed(seed)
            network = mlp()
            self.fit(network, "MNIST")
            self._pretrained = {seed: network}
            torch.manual_seed(seed)
        return self._pretrained[seed]

    def fit(self, network: nn.Module, images: str) -> None:
        """Train what is not frozen for one epoch."""
        x_nl, labels = inputs(self.train, images), self.train.labels
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        optimizer = torch.optim.Adam(trained, RATE, fused=True)
        for rows in torch.randperm(len(labels)).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(network(x_nl[rows]), labels[rows]).backward()
            optimizer.step()

    @torch.no_grad()
    def accuracy(self, network: nn.Module, images: str) -> float:
        """Return the share of test images that are recognised, in per cent."""
        found = network(inputs(self.test, images)).argmax(-1)
        return 100 * float((found == self.test.labels).double().mean())


def mlp(rank: int | None = None) -> nn.Sequential:
    """Return a network with new weights; with a rank, each of its matrices is a product A B."""

    def layer(inside: int, outside: int) -> list[nn.Module]:
        if rank is None:
            return [nn.Linear(inside, outside)]
        return [nn.Linear(inside, rank, bias=False), nn.Linear(rank, outside)]

    layers = [[*layer(*sizes), nn.ReLU()] for sizes in pairwise(SIZES)]
    return nn.Sequential(*[module for part in layers for module in part][:-1])


def inputs(digits: Digits, images: str) -> Tensor:
    """Return changed and standardised images, (N, 784)."""
    return ((CHANGES[images](digits.images / 255) - MEAN) / DEVIATION).flatten(1)


def _trained_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def run_all(study: Study, plan: Sequence[Training], file: Path) -> list[Training]:
    """Return the plan with results: those in the file, and those trained now, each of which is added to it.

    Raises:
        ValueError: for a file of another number of training images.
    """
    facts = {"training_images": len(study.train.labels), "batch": BATCH, "rate": RATE}
    kept = json.loads(file.read_text()) if file.is_file() else {"facts": facts, "trainings": []}
    if kept["facts"] != facts:
        raise ValueError(f"{file} was made with {kept['facts']}, and this would be {facts}; give another --folder")
    done = {it.key: it for it in (Training(**one) for one in kept["trainings"])}
    left = [it for it in plan if it.key not in done]
    if len(left) < len(plan):
        print(f"{len(plan) - len(left)} of {len(plan)} trainings are in {file} already", flush=True)
    start = time.monotonic()
    for n, it in enumerate(left, 1):
        done[it.key] = it = study.run(it)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(
            file, json.dumps({"facts": facts, "trainings": [asdict(one) for one in done.values()]}, indent=1)
        )
        seconds = (time.monotonic() - start) / n * (len(left) - n)
        rank = f" r = {it.rank}" if it.rank else ""
        what = f"seed {it.seed}, {METHODS[it.method]}{rank}, {it.images}: {it.accuracy:.2f} %"
        print(
            f"[{len(plan) - len(left) + n}/{len(plan)}] {what}   ({seconds // 60:.0f}:{seconds % 60:02.0f} left)",
            flush=True,
        )
    return [done[it.key] for it in plan]


def table(found: Sequence[Training]) -> Iterator[str]:
    """Yield the lines of a table in Markdown: published numbers, and ours over seeds with 95 % intervals."""
    yield "| | parameters | " + " | ".join(f"{images}, published | ours" for images in CHANGES) + " |"
    yield "|---|--:|" + "--:|--:|" * len(CHANGES)
    for method, name in METHODS.items():
        for rank in dict.fromkeys(it.rank for it in found if it.method == method):
            rows = [it for it in found if (it.method, it.rank) == (method, rank)]
            cells = [cell for images in CHANGES for cell in _cells(rows, method, images, rank)]
            title = f"{name}, r = {rank}" if rank else name
            yield f"| {title} | {count(rows[0].parameters)} | " + " | ".join(cells) + " |"


def _cells(rows: Sequence[Training], method: str, images: str, rank: int) -> tuple[str, str]:
    """Return the published accuracy and ours; empty cells where there is none."""
    published = PUBLISHED.get((method, images), {}).get(rank)
    own = [it.accuracy for it in rows if it.images == images]
    return "" if published is None else f"{published:.2f}", estimate_text(estimate(own), 2) if own else ""


def draw(found: Sequence[Training], path: Path) -> None:
    """Draw accuracy against rank: a panel for each kind of images, published numbers as hollow marks."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.7), dpi=110, layout="constrained")
    for axes, images in zip(figure.subplots(1, len(CHANGES), sharey=True), CHANGES, strict=True):
        for method, color in (("lora", "C0"), ("scratch", "C3")):
            _draw_ranks(axes, [it for it in found if (it.method, it.images) == (method, images)], color)
        for method, style in (("full", "--"), ("before", ":")):
            own = [it.accuracy for it in found if (it.method, it.images) == (method, images)]
            if own:
                axes.axhline(estimate(own).mean, color="C7", linestyle=style, label=METHODS[method])
        axes.set(xscale="log", xlabel="rank r", title=images, ylim=(0, 100))
        axes.set_xticks(RANKS, [str(rank) for rank in RANKS])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("test accuracy (%)")
    figure.legend(*figure.axes[-1].get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize=9)
    figure.savefig(path)


def _draw_ranks(axes: object, own: Sequence[Training], color: str) -> None:
    """Draw the mean over seeds, every seed as a dot, and what is published."""
    if not own:
        return
    ranks = sorted({it.rank for it in own})
    means = [estimate([it.accuracy for it in own if it.rank == rank]).mean for rank in ranks]
    axes.plot(ranks, means, "-", color=color, label=METHODS[own[0].method])  # type: ignore[attr-defined]
    axes.plot([it.rank for it in own], [it.accuracy for it in own], ".", color=color)  # type: ignore[attr-defined]
    published = PUBLISHED.get((own[0].method, own[0].images), {})
    axes.plot(  # type: ignore[attr-defined]
        [*published], [*published.values()], "o", markerfacecolor="none", color=color, label="published"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="how many: 1, 2, 3 (seed 0 was used to choose the recipe)")
    parser.add_argument("--ranks", type=int, nargs="+", default=RANKS)
    parser.add_argument("--images", type=int, help="training images; all 60,000 by default")
    parser.add_argument("--path", help="the folder of MNIST's four files; that in FORMERS_DATA by default, or hub")
    parser.add_argument("--folder", type=Path, default=Path("lora-mnist"), help="where results are kept")
    parser.add_argument("--save", type=Path, help="where to save the picture (PNG)")
    words = parser.parse_args()
    torch.set_num_threads(1)  # its matrices are small
    plan = planned(range(1, words.seeds + 1), words.ranks)
    try:
        found = run_all(Study(words.path, words.images), plan, words.folder / "trainings.json")
    except KeyboardInterrupt:
        raise SystemExit("\nstopped; the same command goes on from here") from None
    text = "\n".join(table(found))
    write_atomically(words.folder / "table.md", text + "\n")
    print(f"\n{text}")
    if words.save:
        draw(found, words.save)


if __name__ == "__main__":
    main()
