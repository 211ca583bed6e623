"""Recall: pairs of a key and a value are read, then keys are asked for."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from functools import lru_cache, partial
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

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

BLANK, IGNORED = 0, -100
_EACH = 128  # held-out sequences for each number of pairs
_ROWS = 128  # sequences evaluated at a time
_MOST = 1 << 16  # different tokens


class Recall(Task):
    """Read key–value pairs, then say the value of each key that is asked for: `a 4 b 3 c 6 … c → 6, a → 4`.

    Multi-query associative recall: what a mixer can recall is bounded by what it remembers, so accuracy falls with the
    number of pairs for mixers with a small state. Keys are different within a sequence, each is asked for once, in
    random order and at random places, blanks between; its value follows it. Training sequences have 1 … `pairs` pairs.
    A sequence belongs to training, validation or test by a checksum. Learning to join a value to the key before it
    takes two layers of softmax thousands of steps, so in the default study the first layer is a window of two tokens,
    and only the second differs. A model can be tested at other lengths: with as many pairs, and their questions farther
    away. As Zoology draws it, most questions follow soon after the pairs, and some far behind them: `power=0.01`; and
    what is between them is noise: `noise=True`. Source: Arora et al. 2023 (Zoology), arXiv:2312.04927.
    """

    length: int = 16
    "Tokens in a sequence: two for each pair, two for each question, blanks in the rest."
    pairs: int = 4
    "The largest number of pairs."
    vocab: int = 16
    "Different tokens: half of them are keys, half values."
    power: float = 1.0
    """Exponent a of the law for places of questions: the k-th place after the pairs has a weight of k^(a − 1). With 1
    all places are alike."""
    noise: bool = False
    "Whether blanks between the questions are random tokens instead, other than the keys that were told."

    added: ClassVar[Mapping[str, Any]] = {"power": 1.0, "noise": False}
    longest: ClassVar[int] = 1 << 16
    description: ClassVar[str] = (
        "Multi-query associative recall: read pairs of a key and a value, then give the value of each key that is "
        "asked for. Generated; measured on sequences that are never trained on, accuracy over the keys asked for."
    )
    metric: ClassVar[TaskMetric] = TaskMetric(
        name="accuracy", label="accuracy", lower_is_better=False, against="state_bytes"
    )
    head: ClassVar[str] = "CausalLM"
    at_other_lengths: ClassVar[str] = (
        "As many pairs at every length, and the questions for them spread over the rest of the sequence: the longer it "
        "is, the farther away is what has to be recalled."
    )
    arms: ClassVar[tuple[str, ...]] = (  # the first layer joins each value to its key, the second recalls
        "softmax: mixer=[sparse(pattern=window(2)), softmax]",
        "window: mixer=[sparse(pattern=window(2)), sparse(pattern=window(8))]",
        "linear: mixer=[sparse(pattern=window(2)), linear]",
        "taylor2: mixer=[sparse(pattern=window(2)), linear(feature=taylor2)]",
        "performer: mixer=[sparse(pattern=window(2)), performer]",
        "rfa: mixer=[sparse(pattern=window(2)), rfa]",
        "dense: mixer=[sparse(pattern=window(2)), dense], residual=danet, norm=max_norm, "
        "ffn=mlp(activation=relu, bias=False, init=1.0), embedding_norm=max_norm",
        "identity: mixer=[sparse(pattern=window(2)), identity]",
    )
    budget: ClassVar[dict[str, float]] = {"steps": 500, "batch_size": 64, "learning_rate": 3e-3}

    def check(self) -> None:
        if self.vocab > _MOST:
            raise ValueError(f"recall: at most {_MOST:,} different tokens, not {self.vocab:,}")
        if self.pairs < 1 or self.length < 4 * self.pairs or self.length % 2:
            raise ValueError(
                f"recall: {self.pairs} pairs and a question for each need an even length of at least "
                f"{4 * max(1, self.pairs)} tokens, not {self.length}"
            )
        if not 0 < self.power <= 1:
            raise ValueError(f"recall: power is above 0 and at most 1, where all places are alike, not {self.power:g}")
        if self.vocab % 2 or self.vocab < 2 * max(self.pairs, 8):
            raise ValueError(
                f"recall: half of the tokens are keys, and {self.pairs} pairs need as many keys, 8 at least; "
                f"take an even vocab of at least {2 * max(self.pairs, 8)}, not {self.vocab}"
            )

    def base(self) -> TransformerConfig:
        from formers.models import TransformerConfig
        from formers.positions import NoPosition

        return TransformerConfig(
            vocab_size=self.vocab + 1,  # and the blank
            width=64,
            depth=2,
            heads=2,
            position=NoPosition(),  # keys and values differ by themselves
            context_length=self.length,
            initializer_range=0.1,  # about 1/√width; the usual 0.02 suits widths in the thousands
        )

    def build(self, seed: int, count: int) -> Dataset[Example]:
        return Generated(partial(self.example, side="train"), f"recall/{seed}", count)

    def example(self, stream: random.Random, side: Side, pairs: int | None = None) -> Example:
        """Return a sequence of a split, (L,), and its labels: the values of the keys asked for; the model shifts
        them itself."""

        def draw() -> tuple[str, tuple[list[int], list[int]]]:
            count = pairs or stream.randint(1, self.pairs)
            keys, values = self.draw(stream, count)
            told = [*chain(*zip(keys, values, strict=True))]
            asked, labels = self.questions(stream, keys, values)
            return repr(told + asked), (told + asked, [IGNORED] * len(told) + labels)

        tokens, labels = first_of(side, draw, self)
        return {"input_ids": torch.tensor(tokens), "labels": torch.tensor(labels)}

    def draw(self, stream: random.Random, count: int) -> tuple[list[int], list[int]]:
        """Draw different keys, and any values: keys are 1 … vocab/2, values the numbers above."""
        half = self.vocab // 2
        return stream.sample(range(1, half + 1), count), stream.choices(range(half + 1, self.vocab + 1), k=count)

    def questions(self, stream: random.Random, keys: list[int], values: list[int]) -> tuple[list[int], list[int]]:
        """Return each key and its value in some place after the pairs, blanks elsewhere; and the labels."""
        places = self.length // 2 - len(keys)
        tokens, labels = [BLANK] * (2 * places), [IGNORED] * (2 * places)
        if self.noise:
            others = sorted(set(range(1, self.vocab + 1)) - set(keys))
            tokens = stream.choices(others, k=2 * places)
        for place, key, value in zip(self.places(stream, places, len(keys)), keys, values, strict=True):
            tokens[2 * place : 2 * place + 2] = [key, value]
            labels[2 * place + 1] = value
        return tokens, labels

    def places(self, stream: random.Random, among: int, count: int) -> list[int]:
        """Return different places 0 … among − 1 in random order, one after the other drawn by the weights k^(a − 1)."""
        if self.power == 1:
            return stream.sample(range(among), count)
        # The largest of u^(1/w) are a weighted sample without replacement: Efraimidis and Spirakis 2006.
        ranks = {place: math.log(stream.random()) * (place + 1) ** (1 - self.power) for place in range(among)}
        return stream.sample(sorted(ranks, key=ranks.__getitem__)[-count:], count)

    @property
    def sizes(self) -> list[int]:
        """Return the numbers of pairs that are measured: `pairs`, half of it, and so on, four at most, from few to
        many."""
        return sorted({max(1, self.pairs >> k) for k in range(4)})

    def held_out(self, split: Split, pairs: int) -> tuple[Tensor, Tensor]:
        """Return the sequences of a split with this number of pairs, and their labels, (EACH, L) each; the same for
        every seed."""
        return _drawn(self, split, pairs)

    def evaluate(self, model: PreTrainedModel, split: Split = "validation") -> Evaluation:
        """Return `accuracy`, the mean over sequences of the share of keys answered rightly; a slice for each number
        of pairs."""
        items = {pairs: self.shares(model, *self.held_out(split, pairs)) for pairs in self.sizes}
        every = torch.cat([*items.values()])
        return Evaluation(
            metrics={"accuracy": every.mean().item()},
            slices={"pairs": {str(pairs): share_b.mean().item() for pairs, share_b in items.items()}},
            items=tuple(every.tolist()),
        )

    def shares(self, model: PreTrainedModel, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return each sequence's share of right answers, (B,) in float64."""
        asked_bl = labels[:, 1:] != IGNORED
        right_bl = (self.answers(model, inputs) == labels[:, 1:]) & asked_bl
        return right_bl.sum(1).double() / asked_bl.sum(1)

    def answers(self, model: PreTrainedModel, inputs: Tensor) -> Tensor:
        """Return the likeliest token after each but the last, (B, L − 1)."""
        return answers(model, {"input_ids": inputs}, _ROWS)[:, :-1]

    def references(self) -> dict[str, float]:
        """Return `chance`: any of the values."""
        return {"chance": 2 / self.vocab}

    def samples(self, model: PreTrainedModel) -> tuple[str, ...]:
        """Return a sequence for each number of pairs, and what was answered."""
        return tuple(self.sample(model, pairs) for pairs in self.sizes)

    def sample(self, model: PreTrainedModel, pairs: int) -> str:
        inputs, labels = (rows[:1] for rows in self.held_out("test", pairs))
        answers = self.answers(model, inputs)[0]
        told = inputs[0, : 2 * pairs].view(-1, 2).tolist()
        asked = [
            f"{inputs[0, at]}→{answers[at]}" + ("" if answers[at] == label else f" (should be {label})")
            for at, label in enumerate(labels[0, 1:].tolist())
            if label != IGNORED
        ]
        return f"{', '.join(f'{key}={value}' for key, value in told)}; {', '.join(asked)}"

    @property
    def data_hash(self) -> str:
        first = self.build(0, 8)
        return digest([self, *(first[i]["input_ids"].tolist() for i in range(8))])


@lru_cache(maxsize=16)
def _drawn(task: Recall, split: Split, pairs: int) -> tuple[Tensor, Tensor]:
    made = Generated(partial(task.example, side=split, pairs=pairs), f"recall/{split}/{pairs}", _EACH)
    examples = [made[i] for i in range(_EACH)]
    return torch.stack([e["input_ids"] for e in examples]), torch.stack([e["labels"] for e in examples])
