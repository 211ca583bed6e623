"""The score of a pretrained classifier on a task of texts, as the loss that `swap_costs` measures."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from formers.adapt.json_lines import hash_of_tokens
from formers.part import Unsupported
from formers.tasks import Classify, Glue, Reviews, Task
from formers.tasks.answers import answers

_TOKENS = 1 << 14
"""Evaluated at a time: few enough for attention maps to fit in memory."""


@dataclass(frozen=True)
class TaskScore:
    """Texts of a task as a pretrained classifier reads them; called with one, it returns minus the task's score.

    Attributes:
        task: which scores answers.
        inputs: tokens, padded, with all else that the tokenizer gives, (B, L) each.
        labels: the classes as the task numbers them, (B,).
        numbers: the model's number of each of the task's classes.
    """

    task: Classify | Glue | Reviews
    inputs: dict[str, Tensor]
    labels: Tensor
    numbers: tuple[int, ...]

    @classmethod
    def of(cls, task: Task, model: PreTrainedModel, tokenizer: Any, name: str, most: int) -> TaskScore:
        """Return the score on a task's test texts, of which `most` are drawn at most, the same ones every time.

        Args:
            task: of texts and their classes: glue, classify or reviews.
            tokenizer: of the model, which `name` names for the task: a folder, or a name on the hub.

        Raise Unsupported for another task, and ValueError for a model of other classes.
        """
        if not isinstance(task, Classify | Glue | Reviews):
            raise Unsupported(f"{task} gives no classes to texts; give glue/cola, reviews, or classify(path=…)")
        data = task.swap(tokenizer=name).data
        numbers = _numbers(data.classes, model)
        chosen = [*range(len(data.test.ids))]
        if len(chosen) > most:
            chosen = sorted(random.Random(0).sample(chosen, most))
        columns = zip(*(data.test.records[at].texts for at in chosen), strict=True)
        most_positions = getattr(model.config, "max_position_embeddings", task.length)
        longest = min(task.length, tokenizer.model_max_length, most_positions)
        options = {"truncation": True, "max_length": longest, "padding": True, "return_tensors": "pt"}
        inputs = dict(tokenizer(*map(list, columns), **options))
        return cls(task, inputs, data.test.labels[chosen], numbers)

    @property
    def ids_bl(self) -> Tensor:
        """The tokens of all texts, (B, L)."""
        return self.inputs["input_ids"]

    @property
    def metric(self) -> str:
        """The name of the score, as it stands over a column."""
        return self.task.metric.label

    @property
    def key(self) -> str:
        """A text that differs for another task, other texts or other classes of them."""
        tensors = {name: hash_of_tokens(self.inputs[name]) for name in sorted(self.inputs)}
        return f"{type(self.task).__name__} {self.metric} {tensors} {hash_of_tokens(self.labels)} {self.numbers}"

    def __call__(self, model: PreTrainedModel, ids_bl: Tensor) -> float:
        """Return minus the score of a model on all texts."""
        found = answers(model, self.inputs, rows=max(1, _TOKENS // ids_bl.shape[1]))
        order = {number: at for at, number in enumerate(self.numbers)}
        classes = torch.tensor([order[int(number)] for number in found])
        return -self.task.score(classes, self.labels)


def _numbers(classes: tuple[str, ...], model: PreTrainedModel) -> tuple[int, ...]:
    """Return the number that a model has for each class: by its name, or where it has no names, in their order.

    Raise ValueError where the model has other classes.
    """
    named = {str(label).lower(): int(number) for label, number in model.config.label2id.items()}
    if all(one.lower() in named for one in classes) and len(named) == len(classes):
        return tuple(named[one.lower()] for one in classes)
    nameless = set(named) == {f"label_{number}" for number in range(len(classes))}
    if not nameless:
        raise ValueError(
            f"the task has the classes {', '.join(classes)}, but the model {', '.join(model.config.label2id)}; give a "
            "model that was fine-tuned on this task"
        )
    return tuple(range(len(classes)))
