"""Digits, pixel by pixel: complete the lower half of an image, or make a whole one."""

from __future__ import annotations

import math
import random
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from formers.part import evaluating
from formers.tasks.evaluation import Evaluation, Split
from formers.tasks.metric import TaskMetric
from formers.tasks.mnist.images import LENGTHS, Images, load_images
from formers.tasks.mnist.judge import trained_judge
from formers.tasks.mnist.pixels import IGNORED, example_of, generated, marginal_bits
from formers.tasks.picture import Picture
from formers.tasks.png import grid, png
from formers.tasks.task import Example, Generated, Task, digest

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from formers.models import TransformerConfig

_VALIDATED, _TESTED = 256, 512
"""Images of a split that are measured."""
_TOKENS_AT_ONCE = 1 << 14
_MOST_JUDGED = 10_000
_TRIES = 3
"""Rows of completions, or of made images, in the picture."""
_DESCRIPTIONS = {
    "complete": "Complete images of digits, pixel by pixel: the upper half is given. Measured in bits per pixel of the "
    "lower half, on the test images; a classifier says how many completions show the right digit.",
    "generate": "Make images of digits, pixel by pixel. Measured in bits per pixel on the test images; a classifier "
    "says how sure it is of the digits in made ones.",
}


class Mnist(Task):
    """Digits pixel by pixel: `mnist(task=complete)`, or `mnist/complete` on the command line; complete or generate.

    A model reads an image in raster order and gives each pixel's distribution over 256 grey values; bits/dim are
    −log₂ p, over all pixels (`generate`) or those of the lower half, given the upper (`complete`). The first 512 test
    images are measured. In the test, a judge scores samples at temperature 1: a small classifier that the task trains
    once on the same images, always in the same way. Its accuracy on completions stands beside that on the true images
    (`judge_on_originals`) and on images whose lower half is black (`judge_on_upper_half`); for made images, of which
    nobody knows the digit, its mean confidence beside that on true ones. Source: Katharopoulos et al. 2020,
    arXiv:2006.16236, section 4.2 (which shows 784 pixels, mixtures of 10 logistics, positions concatenated).

    Data: a copy of MNIST's four files (LeCun & Cortes); the last 5,000 training images validate.
    """

    length: int = 784
    "Pixels of an image: 784, or 196 or 49 for images shrunk to 14 × 14 or 7 × 7."
    task: Literal["complete", "generate"]
    "What is predicted: the lower half of an image whose upper half is given, or all of it."
    distribution: Literal["logistics", "categorical"] = "logistics"
    "Of a pixel's value: a mixture of 10 logistic distributions, or a score for each value by itself."
    judged: int = 64
    "Test images that are completed, or made, and judged; 0 for none."
    path: str | None = None
    "The user's copy; None looks in the folder that FORMERS_DATA names; 'hub' downloads (needs pyarrow and pillow)."

    description: ClassVar[str] = "Images of digits, pixel by pixel."
    metric: ClassVar[TaskMetric] = TaskMetric(name="bits_per_dim", label="bits/dim")
    head: ClassVar[str] = "PixelLM"
    arms: ClassVar[tuple[str, ...]] = ()
    budget: ClassVar[dict[str, float]] = {"steps": 500, "batch_size": 16, "learning_rate": 3e-3}

    def check(self) -> None:
        if self.length not in LENGTHS:
            raise ValueError(f"{self.name()}: length must be one of {', '.join(map(str, LENGTHS))}, not {self.length}")
        if not 0 <= self.judged <= _MOST_JUDGED:
            raise ValueError(f"{self.name()}: judged must be from 0 to {_MOST_JUDGED:,}, not {self.judged:,}")
        side, block = self.side, max(2, self.side // 4)
        arms = (
            "softmax: mixer=softmax",
            "linear: mixer=linear",
            f"local1d: mixer=image_local(pattern=local1d({2 * side}, {2 * side}))",
            f"local2d: mixer=image_local(pattern=local2d({side}, {side}, {block}, {block}))",
            "identity: mixer=identity",
        )
        object.__setattr__(self, "arms", arms)
        object.__setattr__(self, "description", _DESCRIPTIONS[self.task])

    @property
    def side(self) -> int:
        """Rows and columns of an image."""
        return LENGTHS[self.length]

    @property
    def given(self) -> int:
        """Pixels that are given and not predicted."""
        return self.side // 2 * self.side if self.task == "complete" else 0

    @property
    def images(self) -> Images:
        """The images, read once until their files change."""
        return load_images(self.path, self.length)

    def base(self) -> TransformerConfig:
        from formers.models import PixelConfig
        from formers.positions import Grid

        return PixelConfig(
            width=64,
            depth=2,
            heads=4,
            position=Grid(rows=self.side, columns=self.side, how="concatenate"),
            context_length=self.length,
            distribution=self.distribution,
            initializer_range=0.1,  # about 1/√width; the usual 0.02 suits widths in the thousands
        )

    def build(self, seed: int, count: int) -> Dataset[Example]:
        """Return training images drawn with replacement: example i is a function of the seed and i."""
        return Generated(partial(self.draw, self.images.train.images), f"mnist/{seed}", count)

    def draw(self, images_nl: Tensor, stream: random.Random) -> Example:
        return example_of(images_nl[stream.randrange(len(images_nl))], self.given)

    def evaluate(self, model: PreTrainedModel, split: Split = "validation") -> Evaluation:
        """Return `bits_per_dim` over a split, and in the test what the judge says of samples."""
        count = _TESTED if split == "test" else _VALIDATED
        bits_n = self.bits(model, getattr(self.images, split).images[:count])
        judged = self.judgement(model) if split == "test" and self.judged else {}
        return Evaluation(metrics={"bits_per_dim": bits_n.mean().item(), **judged}, items=tuple(bits_n.tolist()))

    def bits(self, model: PreTrainedModel, images_nl: Tensor) -> Tensor:
        """Return the mean bits per predicted pixel of each image, (N,) in float64."""
        found = []
        with evaluating(model):
            for images in images_nl.split(max(1, _TOKENS_AT_ONCE // self.length)):
                batch = {name: t.to(model.device) for name, t in example_of(images, self.given).items()}
                nats_bl = model(**batch).nats
                found.append(nats_bl.double().sum(1).cpu() / (batch["labels"][0] != IGNORED).sum().item())
        return torch.cat(found) / math.log(2)

    def judgement(self, model: PreTrainedModel) -> dict[str, float]:
        """Return the judge's accuracy on completions, or its confidence on made images, and the same on true ones."""
        judge = trained_judge(self.path, self.length)
        images, labels = (t[: self.judged] for t in self.images.test)
        made = judge.probabilities(generated(model, images, self.given, seed=0))
        true = judge.probabilities(images)
        if self.task == "generate":
            return {"judge_confidence": _confidence(made), "judge_confidence_on_originals": _confidence(true)}
        upper = images.clone()
        upper[:, self.given :] = 0
        return {
            "judge_accuracy": _accuracy(made, labels),
            "judge_on_originals": _accuracy(true, labels),
            "judge_on_upper_half": _accuracy(judge.probabilities(upper), labels),
        }

    def references(self) -> dict[str, float]:
        """Return `each pixel by itself`: the value's frequency at its place in the training images."""
        images = self.images
        return {"each pixel by itself": marginal_bits(images.train.images, images.test.images[:_TESTED], self.given)}

    def pictures(self, model: PreTrainedModel) -> tuple[Picture, ...]:
        """Return a page of images: for each digit what is given, completions, and the true one; or made images."""
        images, labels = self.images.test
        chosen = images[[int((labels == digit).nonzero()[0]) if digit in labels else 0 for digit in range(10)]]
        rows = list(generated(model, chosen.repeat(_TRIES, 1), self.given, seed=0).split(len(chosen)))
        caption = f"{_TRIES * len(chosen)} images made pixel by pixel"
        if self.given:
            upper = chosen.clone()
            upper[:, self.given :] = 128
            rows = [upper, *rows, chosen]
            caption = f"From above: what is given, {_TRIES} completions, the true image"
        page = grid(torch.stack(rows).unflatten(2, (self.side, self.side)), scale=max(1, 56 // self.side))
        return (Picture.of_file(caption, png(page)),)

    @property
    def data_hash(self) -> str:
        return digest([self.images.sha256])


def _accuracy(probability_nc: Tensor, labels: Tensor) -> float:
    return (probability_nc.argmax(-1) == labels).double().mean().item()


def _confidence(probability_nc: Tensor) -> float:
    return probability_nc.amax(-1).double().mean().item()
