"""Sorting: read an array of symbols, write it in order."""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.utils.data import Dataset

from formers.tasks.answers import answers
from formers.tasks.evaluation import Evaluation, Split
from formers.tasks.metric import TaskMetric
from formers.tasks.splits import Side, first_of
from formers.tasks.task import Example, Generated, Task, digest

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from formers.models import TransformerConfig

_HELD_OUT = 1024  # arrays in a split that is not trained on
_MOST = 1 << 16  # different symbols
_ENOUGH = 8  # of two symbols, there are 2⁸ = 256 arrays of this length


class Sort(Task):
    """Sort an array of random symbols: token i of the output is the i-th smallest symbol of the input.

    Every token sees every other. An array belongs to training, validation or test by a checksum of its symbols,
    so that none is ever in two of them. A model can be tested at other lengths, on arrays of as many symbols.
    """

    length: int = 16
    "Symbols in an array."
    symbols: int = 10
    "Different symbols there are."

    longest: ClassVar[int] = 1 << 16
    description: ClassVar[str] = (
        "Sort an array of random symbols: label each position with the symbol that belongs there. Measured on arrays "
        "that are never trained on; an array counts only when all of it is right."
    )
    metric: ClassVar[TaskMetric] = TaskMetric(
        name="sequence_accuracy", label="sequence accuracy", lower_is_better=False
    )
    head: ClassVar[str] = "TokenClassifier"
    at_other_lengths: ClassVar[str] = (
        "Arrays of each length, as many of them, drawn as those of the trained length; longer ones are harder to get "
        "wholly right."
    )
    arms: ClassVar[tuple[str, ...]] = (
        "softmax: mixer=softmax",
        "linear: mixer=linear",
        "dense: mixer=dense, residual=danet, norm=max_norm, ffn=mlp(activation=relu, bias=False, init=1.0), "
        "embedding_norm=max_norm",
        "metric: mixer=metric",
        "fourier: mixer=fourier",
        "pool: mixer=pool",
        "identity: mixer=identity",
    )
    budget: ClassVar[dict[str, float]] = {"steps": 500, "batch_size": 64, "learning_rate": 5e-3}

    def check(self) -> None:
        if self.symbols > _MOST:
            raise ValueError(f"sort: at most {_MOST:,} different symbols, not {self.symbols:,}")
        if self.length < 1 or self.symbols < 2 or self.symbols ** min(self.length, _ENOUGH) < 256:
            raise ValueError(
                f"sort: {self.symbols} symbols in arrays of {self.length} make too few arrays to hold any out; "
                "take at least 2 symbols, and at least 256 different arrays"
            )

    def base(self) -> TransformerConfig:
        from formers.models import TransformerConfig
        from formers.positions import Learned  # acts on the input, so every mixer takes it

        return TransformerConfig(
            vocab_size=self.symbols,
            num_labels=self.symbols,
            width=64,
            depth=2,
            heads=4,
            position=Learned(),
            context_length=self.length,
            initializer_range=0.1,  # about 1/√width; the usual 0.02 suits widths in the thousands
        )

    def build(self, seed: int, count: int) -> Dataset[Example]:
        return Generated(partial(self.example, side="train"), f"sort/{seed}", count)

    def example(self, stream: random.Random, side: Side) -> Example:
        """Return an array of a split, and the same array in order."""

        def draw() -> tuple[str, list[int]]:
            array = stream.choices(range(self.symbols), k=self.length)
            return repr(array), array

        array = first_of(side, draw, self)
        return {"input_ids": torch.tensor(array), "labels": torch.tensor(sorted(array))}

    def held_out(self, split: Split) -> tuple[Tensor, Tensor]:
        """Return the arrays of a split and their sorted forms, (HELD_OUT, L) each; the same for every seed."""
        examples = Generated(partial(self.example, side=split), f"sort/{split}", _HELD_OUT)
        pairs = [examples[i] for i in range(_HELD_OUT)]
        return torch.stack([p["input_ids"] for p in pairs]), torch.stack([p["labels"] for p in pairs])

    def evaluate(self, model: PreTrainedModel, split: Split = "validation") -> Evaluation:
        """Return `sequence_accuracy` (whole arrays right) and `token_accuracy` on the arrays of a split."""
        inputs, targets = self.held_out(split)
        right_bl = self.answers(model, inputs) == targets
        whole_b = right_bl.all(1).double()
        return Evaluation(
            metrics={"sequence_accuracy": whole_b.mean().item(), "token_accuracy": right_bl.double().mean().item()},
            items=tuple(whole_b.tolist()),
        )

    def answers(self, model: PreTrainedModel, inputs: Tensor) -> Tensor:
        """Return the likeliest symbol at each position, (B, L)."""
        return answers(model, {"input_ids": inputs}, rows=256)

    def references(self) -> dict[str, float]:
        """Return `chance`: every position guessed blindly."""
        return {"chance": float(self.symbols) ** -self.length}

    def samples(self, model: PreTrainedModel) -> tuple[str, ...]:
        inputs, targets = (pairs[:3] for pairs in self.held_out("test"))
        answers = self.answers(model, inputs)
        return tuple(
            f"{words(given)} → {words(answer)} ({'right' if answer.equal(target) else 'should be ' + words(target)})"
            for given, answer, target in zip(inputs, answers, targets, strict=True)
        )

    @property
    def data_hash(self) -> str:
        first = self.build(0, 8)
        return digest([self, *(first[i]["input_ids"].tolist() for i in range(8))])


def words(ids: Tensor) -> str:
    """Return symbols as text."""
    return " ".join(map(str, ids.tolist()))
