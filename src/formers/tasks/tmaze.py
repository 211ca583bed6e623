"""The T-maze: a sign at its entrance tells where to turn at the end of a long corridor."""

from __future__ import annotations

import random
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.utils.data import Dataset

from formers.part import evaluating
from formers.tasks.evaluation import Evaluation, Split
from formers.tasks.metric import TaskMetric
from formers.tasks.splits import Side, first_of
from formers.tasks.task import BEGINS, Example, Task, digest

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from formers.models import TransformerConfig

_WALLS = 4
"""Looks of the corridor."""
_EACH = 128  # episodes of a split for each length of the corridor
_IGNORED = -100
_MOST = 1 << 20
_LEAST = 8
"""Tokens of a corridor: half of a shorter one has no walls, and no more episodes than there are signs."""


class Tmaze(Task):
    """Read a sign, walk down a long corridor, and turn at its end as the sign said: delayed recall.

    An episode is a sign, one of `signs`, then looks of the corridor's walls that tell nothing, and a junction at its
    end, `corridor` tokens in all. It is read in segments of `length` tokens, with the state handed on from one to the
    next: only a memory takes the sign to the junction, and without one an answer is a guess. The model says at each
    token what to do, to go on or which way to turn; the loss counts the first token of each segment and the junction.
    Each row of a batch begins a new episode when its last one is over. A model is measured in corridors of half, once
    and twice the trained length. Source: Bakker 2001 (the T-maze); Parisotto et al. 2019 (GTrXL), arXiv:1910.06764.
    """

    length: int = 16
    "Tokens in a segment."
    corridor: int = 64
    "Tokens from the sign to the junction, both of them counted; a multiple of twice `length`, 8 at least."
    signs: int = 4
    "Different signs, and ways to turn."

    description: ClassVar[str] = (
        "T-maze: a sign is read, then a long corridor in contiguous segments, and at its end the way that the sign "
        "showed is to be taken. Generated; measured on episodes that are never trained on, in corridors of half, once "
        "and twice the trained length; arms are ranked in the trained one."
    )
    metric: ClassVar[TaskMetric] = TaskMetric(name="accuracy", label="accuracy", lower_is_better=False)
    head: ClassVar[str] = "CausalLM"
    arms: ClassVar[tuple[str, ...]] = (
        "gated: residual=gated",
        "pre-norm: residual=pre_norm",
        "post-norm: residual=post_norm",
        "gated, no memory: residual=gated, memory=none",
        "pre-norm, no memory: residual=pre_norm, memory=none",
        "post-norm, no memory: residual=post_norm, memory=none",
    )
    budget: ClassVar[dict[str, float]] = {"steps": 800, "batch_size": 32, "learning_rate": 2e-3, "evaluations": 8}

    def check(self) -> None:
        if self.signs < 2 or self.signs > _MOST or self.corridor > _MOST:
            raise ValueError(f"{self}: signs are at least 2, and signs and corridor at most {_MOST:,}")
        if self.length < 2 or self.corridor < max(_LEAST, 2 * self.length) or self.corridor % (2 * self.length):
            raise ValueError(
                f"{self}: the corridor must be a multiple of two segments, as {4 * max(2, self.length)} is of "
                f"{2 * max(2, self.length)}, so that half of it has whole segments, too, and {_LEAST} at least"
            )

    @property
    def forward(self) -> int:
        """The token of going on, as an action; signs and the ways to turn are the numbers below."""
        return self.signs

    @property
    def junction(self) -> int:
        """The token of the end of the corridor; its walls are the numbers above."""
        return self.signs + 1

    def base(self) -> TransformerConfig:
        from formers.memory import Recurrent
        from formers.models import TransformerConfig
        from formers.positions import Xl

        return TransformerConfig(
            vocab_size=self.signs + 2 + _WALLS,
            width=32,
            depth=2,
            heads=2,
            memory=Recurrent(length=self.corridor),
            position=Xl(),
            context_length=2 * self.corridor,
            initializer_range=0.1,  # about 1/√width; the usual 0.02 suits widths in the thousands
            tie_word_embeddings=False,  # what is seen and what is done are different things
        )

    @property
    def is_contiguous(self) -> bool:
        return True

    def build(self, seed: int, count: int) -> Dataset[Example]:
        return self.segments(seed, count, rows=1)

    def segments(self, seed: int, count: int, rows: int) -> Dataset[Example]:
        return _Walks(self, seed, rows, count)

    def draw(self, stream: random.Random, side: Side, corridor: int) -> Tensor:
        """Return an episode of a split, (corridor): the sign, the walls, and the junction."""

        def draw() -> tuple[str, list[int]]:
            walls = [self.junction + 1 + stream.randrange(_WALLS) for _ in range(corridor - 2)]
            episode = [stream.randrange(self.signs), *walls, self.junction]
            return repr(episode), episode

        return torch.tensor(first_of(side, draw, self))

    def evaluate(self, model: PreTrainedModel, split: Split = "validation") -> Evaluation:
        """Return `accuracy`, the share of episodes with the right turn, in corridors of the trained length; on the test
        split a slice for each length."""
        lengths = [self.corridor // 2, self.corridor, 2 * self.corridor] if split == "test" else [self.corridor]
        right = {length: self.turns(model, split, length)[1].double() for length in lengths}
        slices = {"corridor": {str(length): right_b.mean().item() for length, right_b in right.items()}}
        items = right[self.corridor]
        return Evaluation(
            metrics={"accuracy": items.mean().item()},
            slices=slices if split == "test" else {},
            items=tuple(items.tolist()),
        )

    def turns(self, model: PreTrainedModel, split: Split, corridor: int) -> tuple[Tensor, Tensor]:
        """Return the likeliest action at the junction of each episode, and whether it is right, (B) each."""
        episodes = _held_out(self, split, corridor)
        past = _empty_memory(model)
        with evaluating(model):
            for segment in episodes.split(self.length, 1):
                logits = model(input_ids=segment.to(model.device), **past).logits
        taken_b = logits[:, -1].argmax(-1).cpu()
        return taken_b, taken_b == episodes[:, 0]

    def references(self) -> dict[str, float]:
        """Return `chance`: any way to turn."""
        return {"chance": 1 / self.signs}

    def samples(self, model: PreTrainedModel) -> tuple[str, ...]:
        """Return the sign and the turn of a few episodes."""
        signs = _held_out(self, "test", self.corridor)[:8, 0].tolist()
        taken = self.turns(model, "test", self.corridor)[0][:8].tolist()
        told = [
            f"{sign}→{turn}" + ("" if turn == sign else " (wrong)") for sign, turn in zip(signs, taken, strict=True)
        ]
        return (", ".join(told),)

    @property
    def data_hash(self) -> str:
        first = self.segments(0, 8, rows=2)
        return digest([self, *(first[i]["input_ids"].tolist() for i in range(8))])


class _Walks(Dataset[Example]):
    """Segments of episodes that `rows` rows walk through side by side: example i belongs to row i % rows."""

    def __init__(self, task: Tmaze, seed: int, rows: int, count: int) -> None:
        self.task, self.seed, self.rows, self.count = task, seed, rows, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < self.count:
            raise IndexError(f"example {index} of {self.count}")
        task, (step, row) = self.task, divmod(index, self.rows)
        walk, segment = divmod(step, task.corridor // task.length)
        stream = random.Random(f"tmaze/{self.seed}/{walk}/{row}")
        episode = task.draw(stream, "train", task.corridor)
        labels = torch.full((task.length + 1,), _IGNORED)
        labels[1] = task.forward  # the action at the first token: a label stands one further, as that of a next token
        if (segment + 1) * task.length == task.corridor:
            labels[-1] = episode[0]
        inputs = episode[segment * task.length : (segment + 1) * task.length]
        return {"input_ids": inputs, "labels": labels, BEGINS: torch.tensor(segment == 0)}


@lru_cache(maxsize=16)
def _held_out(task: Tmaze, split: Split, corridor: int) -> Tensor:
    """Return the episodes of a split in corridors of this length, (episodes, corridor); the same for every seed."""
    streams = [random.Random(f"tmaze/{split}/{corridor}/{i}") for i in range(_EACH)]
    return torch.stack([task.draw(stream, split, corridor) for stream in streams])


def _empty_memory(model: PreTrainedModel) -> dict[str, object]:
    """Return the model's arguments for an empty memory that it moves on; none where it has nothing to carry on."""
    from formers.models import StateCache  # imports Hugging Face, which takes seconds

    return {"past_key_values": StateCache()} if model.config.memory.carried else {}
