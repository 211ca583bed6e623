"""Needle: a fact stands somewhere in a long sequence, and is asked for at the end."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.utils.data import Dataset

from formers.tasks.answers import answers
from formers.tasks.evaluation import Evaluation, Split
from formers.tasks.metric import TaskMetric
from formers.tasks.needle.facts import Hiding
from formers.tasks.picture import Picture
from formers.tasks.png import grid, png
from formers.tasks.splits import Side, first_of
from formers.tasks.task import Example, Generated, Task, digest

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from formers.models import TransformerConfig

FACT, LINK, QUESTION, BLANK, IGNORED = 0, 1, 2, 3, -100
_SIGNS = 4
DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Depths that are measured: the share of the text before the fact."""
_MOST = 1 << 15  # different keys, and as many values
_EACH = 64  # held-out sequences for each depth
_ROWS = 128  # sequences evaluated at a time


class Needle(Task):
    """Find a fact in a long sequence: `… fact b 7 … fact c 4 … question b → 7`, noise between.

    `keys` facts have different keys; with `values` each key has several values, all of which are asked for in the order
    in which they stand; with `hops` a key leads to another one, and that to the next, until one has the value (variable
    tracking). Training sequences have 1 … `keys` keys, at random places, more or less noise between them and blanks
    behind, and ask for all of them. In tests, the fact that is asked for first stands at five depths, from the
    beginning to the end, and its answers alone count. A sequence belongs to training, validation or test by a checksum.
    As in `recall`, the first layer of the default study joins a value to the key before it.

    `formers needle MODEL` asks a trained or pretrained model of text the same in words, at any lengths. Sources:
    Kamradt 2023 (needle in a haystack); Hsieh et al. 2024 (RULER), arXiv:2404.06654.
    """

    length: int = 64
    "Tokens in a sequence: three for each fact, two for each question, its answers, noise in the rest."
    keys: int = 4
    "The largest number of keys, each with facts of its own."
    values: int = 1
    "Values of each key, all of which are asked for."
    hops: int = 0
    "Keys that lead to another key before the one with the value."
    vocab: int = 16
    "Different keys, and as many values. Noise is values, and keys that have no fact."

    longest: ClassVar[int] = 1 << 16
    description: ClassVar[str] = (
        "Find a fact in a long sequence of noise, and say what it says. Generated; measured on sequences that are "
        "never trained on, accuracy over the answers, with the fact at five depths."
    )
    metric: ClassVar[TaskMetric] = TaskMetric(
        name="accuracy", label="accuracy", lower_is_better=False, against="state_bytes"
    )
    head: ClassVar[str] = "CausalLM"
    at_other_lengths: ClassVar[str] = "As many facts at every length, with more or less noise between them."
    arms: ClassVar[tuple[str, ...]] = (  # the first layer joins each value to its key, the second finds it
        "softmax: mixer=[sparse(pattern=window(2)), softmax]",
        "window: mixer=[sparse(pattern=window(2)), sparse(pattern=window(32))]",
        "linear: mixer=[sparse(pattern=window(2)), linear]",
        "taylor2: mixer=[sparse(pattern=window(2)), linear(feature=taylor2)]",
        "identity: mixer=[sparse(pattern=window(2)), identity]",
    )
    budget: ClassVar[dict[str, float]] = {"steps": 600, "batch_size": 64, "learning_rate": 3e-3}

    def check(self) -> None:
        if min(self.keys, self.values) < 1 or self.hops < 0:
            raise ValueError(
                f"needle: keys and values are 1 or more, hops 0 or more; {self.keys}, {self.values} and {self.hops} "
                "were given"
            )
        if self.vocab > _MOST:
            raise ValueError(f"needle: at most {_MOST:,} different keys, not {self.vocab:,}")
        if self.vocab < max(8, self.hiding.names, self.hiding.contents):
            raise ValueError(
                f"needle: {self.hiding.names} keys and {self.hiding.contents} values need as many symbols, 8 at least; "
                f"vocab is {self.vocab}"
            )
        if self.length < self._least:
            raise ValueError(
                f"needle: {self.hiding.facts} facts with noise between them, and {self.keys} questions with their "
                f"answers, need a length of at least {self._least}, not {self.length}"
            )

    @property
    def hiding(self) -> Hiding:
        """The way facts are drawn."""
        return Hiding(keys=self.keys, values=self.values, hops=self.hops)

    @property
    def _least(self) -> int:
        """The shortest length: as many tokens of noise as there are facts."""
        return 4 * self.hiding.facts + self.keys * (2 + self.values)

    def base(self) -> TransformerConfig:
        from formers.models import TransformerConfig
        from formers.positions import NoPosition

        return TransformerConfig(
            vocab_size=_SIGNS + 2 * self.vocab,
            width=64,
            depth=2 + self.hops,
            heads=2,
            position=NoPosition(),
            context_length=self.length,
            initializer_range=0.1,  # about 1/√width; the usual 0.02 suits widths in the thousands
        )

    def build(self, seed: int, count: int) -> Dataset[Example]:
        return Generated(partial(self.example, side="train"), f"needle/{seed}", count)

    def example(self, stream: random.Random, side: Side, depth: float | None = None) -> Example:
        """Return a sequence of a split, (L,), and its labels: the answers; the model shifts them itself.

        With a depth, for a test, it has all keys, and the first question's answers alone are labels.
        """

        def draw() -> tuple[str, tuple[list[int], list[int]]]:
            hiding = self.hiding if depth is not None else replace(self.hiding, keys=stream.randint(1, self.keys))
            tokens, labels = self.sequence(stream, hiding, depth)
            return repr(tokens), (tokens, labels)

        tokens, labels = first_of(side, draw, self)
        if depth is not None:
            last = self.length - (self.keys - 1) * (2 + self.values)
            labels[last:] = [IGNORED] * (self.length - last)
        return {"input_ids": torch.tensor(tokens), "labels": torch.tensor(labels)}

    def sequence(self, stream: random.Random, hiding: Hiding, depth: float | None) -> tuple[list[int], list[int]]:
        """Return facts, noise between them, and questions with their answers as symbols; and the answers as labels.

        Symbols are the four signs, keys and values, in this order. Noise of its own symbols would tell all values
        that were told apart: models then guess among these for thousands of steps.
        """
        room = self.length - 3 * hiding.facts - hiding.keys * (2 + hiding.values)
        noise = room if depth is not None else stream.randint(hiding.facts - 1, room)
        hidden = hiding.draw(stream, noise + 1, depth)
        keys = stream.sample(range(_SIGNS, _SIGNS + self.vocab), hiding.names)
        values = stream.sample(range(_SIGNS + self.vocab, _SIGNS + 2 * self.vocab), hiding.contents)
        filler = stream.choices(sorted({*range(_SIGNS, _SIGNS + 2 * self.vocab)} - {*keys}), k=noise)
        told, before = list[int](), 0
        for fact in hidden.facts:
            content = (keys if fact.leads else values)[fact.content]
            told += [*filler[before : fact.slot], LINK if fact.leads else FACT, keys[fact.key], content]
            before = fact.slot
        told += filler[before:]
        labels = [IGNORED] * len(told)
        for key, found in hidden.questions:
            told += [QUESTION, keys[key], *(values[answer] for answer in found)]
            labels += [IGNORED, IGNORED, *(values[answer] for answer in found)]
        return told + [BLANK] * (room - noise), labels + [IGNORED] * (room - noise)

    def held_out(self, split: Split, depth: float) -> tuple[Tensor, Tensor]:
        """Return the sequences of a split with the fact at this depth, and their labels, (EACH, L) each; the same for
        every seed."""
        return _drawn(self, split, depth)

    def evaluate(self, model: PreTrainedModel, split: Split = "validation") -> Evaluation:
        """Return `accuracy`, the mean over sequences of the share of right answers, and its slices by depth."""
        items = {f"{depth:.0%}": self.shares(model, *self.held_out(split, depth)) for depth in DEPTHS}
        every = torch.cat([*items.values()])
        return Evaluation(
            metrics={"accuracy": every.mean().item()},
            slices={"depth": {depth: share_b.mean().item() for depth, share_b in items.items()}},
            items=tuple(every.tolist()),
        )

    def shares(self, model: PreTrainedModel, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return each sequence's share of right answers, (B,) in float64."""
        asked_bl = labels[:, 1:] != IGNORED
        right_bl = (answers(model, {"input_ids": inputs}, _ROWS)[:, :-1] == labels[:, 1:]) & asked_bl
        return right_bl.sum(1).double() / asked_bl.sum(1)

    def references(self) -> dict[str, float]:
        """Return `chance`: any of the values."""
        return {"chance": 1 / self.vocab}

    def samples(self, model: PreTrainedModel) -> tuple[str, ...]:
        """Return what was answered where the fact stands at each depth."""
        return tuple(self.sample(model, depth) for depth in DEPTHS)

    def sample(self, model: PreTrainedModel, depth: float) -> str:
        """Return a question, and what was answered."""
        inputs, labels = (rows[0] for rows in self.held_out("test", depth))
        asked = (labels != IGNORED).nonzero().flatten()
        found = answers(model, {"input_ids": inputs[None]}, 1)[0, asked - 1].tolist()
        said = ", ".join(
            str(one) if one == label else f"{one} (should be {label})"
            for one, label in zip(found, labels[asked].tolist(), strict=True)
        )
        return f"at {depth:.0%}: {inputs[asked[0] - 1]} → {said}"

    def pictures(self, model: PreTrainedModel) -> tuple[Picture, ...]:
        """Return a heat map: accuracy at three lengths up to the trained one, by depth."""
        lengths = [length for length in (self.length // 4, self.length // 2, self.length) if length >= self._least]
        rows = [[*self.at_length(length).evaluate(model, "test").slices["depth"].values()] for length in lengths]
        cells = (torch.tensor(rows) * 255).round().to(torch.uint8)[:, :, None, None]
        caption = (
            f"Accuracy with the fact at {', '.join(f'{depth:.0%}' for depth in DEPTHS)} of the text (from left to "
            f"right), in {', '.join(map(str, lengths))} tokens (from above): black is 0, white 1."
        )
        return (Picture.of_file(caption, png(grid(cells, scale=24))),)

    @property
    def data_hash(self) -> str:
        first = self.build(0, 8)
        return digest([self, *(first[i]["input_ids"].tolist() for i in range(8))])


@lru_cache(maxsize=64)
def _drawn(task: Needle, split: Split, depth: float) -> tuple[Tensor, Tensor]:
    made = Generated(partial(task.example, side=split, depth=depth), f"needle/{split}/{depth}", _EACH)
    examples = [made[i] for i in range(_EACH)]
    return torch.stack([e["input_ids"] for e in examples]), torch.stack([e["labels"] for e in examples])
