"""ListOps: nested lists of operations on digits."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.utils.data import Dataset

from formers.tasks.answers import answers
from formers.tasks.evaluation import Evaluation, Split
from formers.tasks.metric import TaskMetric
from formers.tasks.padding import padded
from formers.tasks.splits import Side, first_of
from formers.tasks.task import Example, Generated, Task, digest

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from formers.models import TransformerConfig

_OPERATORS: dict[str, Callable[[Sequence[int]], int]] = {
    "[MIN": min,
    "[MAX": max,
    "[MED": lambda values: sum(sorted(values)[(len(values) - 1) // 2 : len(values) // 2 + 1]) // (2 - len(values) % 2),
    "[SM": lambda values: sum(values) % 10,
}
"The median of an even number of values is the mean of the middle two, rounded down."
TOKENS = ("[PAD]", *map(str, range(10)), *_OPERATORS, "]")
_NUMBER = {token: i for i, token in enumerate(TOKENS)}
_HELD_OUT = 1000
_ROWS = 64
_DEEPEST = 64  # operators within each other
_DIGIT = 0.25  # the chance of a digit where an argument may be a list, too
_SHORTEST = 4  # a list has at least one part in this many of the length

Tree = int | tuple[str, list["Tree"]]


class Listops(Task):
    """Evaluate nested operations on digits: `[MAX 2 9 [MIN 4 7 ] 0 ]` is 9. Ten classes, read from the whole sequence.

    Operators: minimum, maximum, median, and the sum modulo 10. Generated: each argument is a list with a chance of 3 in
    4 while depth and length allow; lists from a quarter of `length` to all of it are kept, padded to `length`. A list
    belongs to training, validation or test by a checksum. Source: Nangia & Bowman 2018, arXiv:1804.06028; as a test of
    long inputs (500 to 2,000 tokens, depth 10, 10 arguments) Tay et al. 2020, arXiv:2011.04006.
    """

    length: int = 64
    "Tokens in a sequence, at most."
    depth: int = 3
    "Operators within each other, at most."
    arguments: int = 5
    "Arguments of an operator, at most; 2 at least."

    longest: ClassVar[int] = 1 << 16
    description: ClassVar[str] = (
        "ListOps: the value of nested minima, maxima, medians and sums modulo 10 of digits, ten classes. Generated; "
        "measured on lists that are never trained on."
    )
    metric: ClassVar[TaskMetric] = TaskMetric(name="accuracy", label="accuracy", lower_is_better=False)
    head: ClassVar[str] = "SequenceClassifier"
    arms: ClassVar[tuple[str, ...]] = (
        "softmax: mixer=softmax",
        "window: mixer=sparse(pattern=window(8))",
        "linear: mixer=linear",
        "performer: mixer=performer",
        "pool: mixer=pool",
        "identity: mixer=identity",
    )
    budget: ClassVar[dict[str, float]] = {"steps": 1000, "batch_size": 32, "learning_rate": 2e-3}

    def check(self) -> None:
        if not 1 <= self.depth <= _DEEPEST or self.arguments < 2:
            raise ValueError(f"{self}: depth must be from 1 to {_DEEPEST}, and arguments at least 2")
        if self.length < 2 + self.arguments:
            raise ValueError(f"{self}: an operator with {self.arguments} arguments takes {2 + self.arguments} tokens")
        longest = sum(2 * self.arguments**k for k in range(self.depth)) + self.arguments**self.depth
        if longest < self.shortest:
            raise ValueError(
                f"{self}: lists have at most {longest} tokens, but at least {self.shortest} are wanted; "
                "take a greater depth, more arguments or a smaller length"
            )

    @property
    def shortest(self) -> int:
        """Return the fewest tokens of a list that is kept."""
        return self.length // _SHORTEST

    def base(self) -> TransformerConfig:
        from formers.models import TransformerConfig
        from formers.positions import Sinusoidal

        return TransformerConfig(
            vocab_size=len(TOKENS),
            num_labels=10,
            width=64,
            depth=3,
            heads=4,
            position=Sinusoidal(scale=1.0),  # acts on the input, so every mixer takes it
            context_length=self.length,
            pad_token_id=0,
            initializer_range=0.1,  # about 1/√width; the usual 0.02 suits widths in the thousands
        )

    def build(self, seed: int, count: int) -> Dataset[Example]:
        return Generated(partial(self.example, side="train"), f"listops/{seed}", count)

    def example(self, stream: random.Random, side: Side) -> Example:
        return self.padded(self.draw(stream, side))

    def padded(self, tree: Tree) -> Example:
        ids = torch.tensor([_NUMBER[token] for token in tokens(tree)])
        return {**padded(ids, self.length), "labels": torch.tensor(value(tree))}

    def draw(self, stream: random.Random, side: Side) -> Tree:
        """Return a list of a split, of a length that is kept."""

        def draw() -> tuple[str, Tree] | None:
            tree = _grow(stream, self.depth, self.arguments, self.length)
            written = tokens(tree)
            return (" ".join(written), tree) if self.shortest <= len(written) <= self.length else None

        return first_of(side, draw, self)

    def held_out(self, split: Split, count: int = _HELD_OUT) -> tuple[Tree, ...]:
        """Return the first lists of a split; the same for every seed."""
        return _drawn(self, split, count)

    def evaluate(self, model: PreTrainedModel, split: Split = "validation") -> Evaluation:
        """Return `accuracy`, and its slices by the operators within each other."""
        trees = self.held_out(split)
        right = (self.answers(model, trees) == torch.tensor([value(tree) for tree in trees])).double()
        depths = torch.tensor([depth(tree) for tree in trees])
        return Evaluation(
            metrics={"accuracy": right.mean().item()},
            slices={"depth": {str(d): right[depths == d].mean().item() for d in sorted(set(depths.tolist()))}},
            items=tuple(right.tolist()),
        )

    def answers(self, model: PreTrainedModel, trees: Sequence[Tree]) -> Tensor:
        """Return the likeliest value of each list, (B,)."""
        examples = [self.padded(tree) for tree in trees]
        inputs = {name: torch.stack([e[name] for e in examples]) for name in ("input_ids", "attention_mask")}
        return answers(model, inputs, _ROWS)

    def references(self) -> dict[str, float]:
        """Return `majority`: the commonest value of the validation split, whatever the list."""
        [(commonest, _)] = Counter(map(value, self.held_out("validation"))).most_common(1)
        return {"majority": sum(value(tree) == commonest for tree in self.held_out("test")) / _HELD_OUT}

    def samples(self, model: PreTrainedModel) -> tuple[str, ...]:
        trees = self.held_out("test", 3)
        return tuple(
            f"{' '.join(tokens(tree))} = {answer} ({'right' if answer == value(tree) else f'should be {value(tree)}'})"
            for tree, answer in zip(trees, self.answers(model, trees).tolist(), strict=True)
        )

    @property
    def data_hash(self) -> str:
        first = self.build(0, 8)
        return digest([self, *(first[i]["input_ids"].tolist() for i in range(8))])


@lru_cache(maxsize=8)
def _drawn(task: Listops, split: Split, count: int) -> tuple[Tree, ...]:
    return tuple(task.draw(random.Random(f"listops/{split}/{i}"), split) for i in range(count))


def _grow(stream: random.Random, levels: int, arguments: int, room: int) -> Tree:
    """Return a random list of at most `levels` operators within each other; it stops opening lists when `room`
    tokens are spent."""
    left = room

    def list_of(levels: int) -> Tree:
        nonlocal left
        count = stream.randint(2, arguments)
        left -= 2 + count
        inner = [levels > 1 and stream.random() >= _DIGIT and left > 0 for _ in range(count)]
        return stream.choice([*_OPERATORS]), [
            list_of(levels - 1) if deep and left > 0 else stream.randrange(10) for deep in inner
        ]

    return list_of(levels)


def tokens(tree: Tree) -> list[str]:
    """Return a list as it is written: `[MAX 2 9 ]`."""
    if isinstance(tree, int):
        return [str(tree)]
    operator, inner = tree
    return [operator, *(token for item in inner for token in tokens(item)), "]"]


def value(tree: Tree) -> int:
    """Return the value of a list."""
    return tree if isinstance(tree, int) else _OPERATORS[tree[0]]([value(item) for item in tree[1]])


def depth(tree: Tree) -> int:
    """Return how many operators stand within each other."""
    return 0 if isinstance(tree, int) else 1 + max(depth(item) for item in tree[1])
