"""A task whose results are checked: the one way in which the lab calls the code of a task."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from formers.tasks.checks.examples import CheckedExamples
from formers.tasks.checks.task_error import naming_task_code, wrong_result
from formers.tasks.checks.values import as_label, as_named_numbers, as_numbers, is_metric_name, printable, shown
from formers.tasks.evaluation import Evaluation, Split
from formers.tasks.picture import Picture
from formers.tasks.task import Task

if TYPE_CHECKING:
    from formers.models import TransformerConfig
    from formers.models.pretrained import FormersModel

_OWN_METRIC = "train_loss"
"""The name under which the lab itself keeps a number beside the task's."""


@dataclass(frozen=True)
class CheckedTask:
    """A task, with the same methods, whose results are converted where that is harmless and refused where it is not.

    Every method raises `TaskError`, with the class, file and line of the task, for a result that cannot be used and for
    an error in a user's own code. NumPy's numbers and tensors without dimensions are numbers; lists are tuples.
    """

    task: Task

    def base(self) -> TransformerConfig:
        """Return the configuration from which the arms of the default study differ."""
        from formers.models import TransformerConfig

        with naming_task_code(self.task, "base"):
            config: Any = self.task.base()
        if not isinstance(config, TransformerConfig):
            raise wrong_result(self.task, "base", f"returned {shown(config)}, but a TransformerConfig was expected")
        return config

    def model(self, config: TransformerConfig) -> FormersModel:
        """Return a new model. Raise `Unsupported` for a configuration that cannot exist."""
        from formers import models
        from formers.models.pretrained import FormersModel

        uses_head = type(self.task).model is Task.model
        if uses_head and not isinstance(getattr(models, self.task.head, None), type):
            raise wrong_result(self.task, "head", f"is {self.task.head!r}, which is no class in formers.models")
        with naming_task_code(self.task, "model"):
            model: Any = self.task.model(config)
        if not isinstance(model, FormersModel):
            wanted = "a model of formers.models was expected"
            raise wrong_result(self.task, "model", f"returned {shown(model)}, but {wanted}")
        return model

    def check_config(self, config: TransformerConfig) -> None:
        """Raise `Unsupported` for a configuration that the task could make nothing of."""
        with naming_task_code(self.task, "check_config"):
            self.task.check_config(config)

    def build(self, seed: int, count: int, rows: int) -> CheckedExamples:
        """Return the first `count` training examples for a seed, as tensors, in batches of `rows`."""
        with naming_task_code(self.task, "build"):
            contiguous = self.task.is_contiguous
            data = self.task.segments(seed, count, rows) if contiguous else self.task.build(seed, count)
        return CheckedExamples(self.task, data, seed, count)

    def evaluate(self, model: Any, split: Split = "validation") -> Evaluation:
        """Return what the model reaches on a split, in floats; the ranking metric is among it."""
        with naming_task_code(self.task, "evaluate"):
            found: Any = self.task.evaluate(model, split)
        if not isinstance(found, Evaluation):
            wanted = f"an Evaluation(metrics={{{self.task.metric.name!r}: …}}) was expected"
            raise wrong_result(self.task, "evaluate", f"returned {shown(found)} for {split}, but {wanted}")
        try:
            return Evaluation(
                metrics=self._metrics(found.metrics), slices=_slices(found.slices), items=_items(found.items)
            )
        except TypeError as error:
            raise wrong_result(self.task, "evaluate", f"returned wrong values for {split}: {error}") from None

    def at_length(self, length: int) -> CheckedTask:
        """Return the task at another length. Raise ValueError where it cannot be tested there."""
        with naming_task_code(self.task, "at_length"):
            found: Any = self.task.at_length(length)
        if not isinstance(found, Task) or found.length != length or found.metric != self.task.metric:
            wanted = f"a task of length {length} with the same metric was expected"
            raise wrong_result(self.task, "at_length", f"returned {shown(found)}, but {wanted}")
        return CheckedTask(found)

    def references(self) -> dict[str, float]:
        """Return named values of the ranking metric to compare with."""
        with naming_task_code(self.task, "references"):
            found: Any = self.task.references()
        try:
            named = as_named_numbers(found)
        except TypeError as error:
            raise wrong_result(self.task, "references", f"returned wrong values: references {error}") from None
        if wrong := [name for name, value in named.items() if not math.isfinite(value)]:
            raise wrong_result(self.task, "references", f"returned {named[wrong[0]]} for {wrong[0]!r}")
        return named

    def samples(self, model: Any) -> tuple[str, ...]:
        """Return outputs of the trained model, as text to read."""
        with naming_task_code(self.task, "samples"):
            found: Any = self.task.samples(model)
            texts = (found,) if isinstance(found, str) or not hasattr(found, "__iter__") else tuple(found)
        if wrong := [text for text in texts if not isinstance(text, str)]:
            raise wrong_result(self.task, "samples", f"returned {shown(wrong[0])}, but texts were expected")
        return tuple(map(printable, texts))

    def pictures(self, model: Any) -> tuple[Picture, ...]:
        """Return outputs of the trained model, as pictures to look at."""
        with naming_task_code(self.task, "pictures"):
            found: Any = self.task.pictures(model)
            pictures = tuple(found) if hasattr(found, "__iter__") else (found,)
        if wrong := [picture for picture in pictures if not isinstance(picture, Picture)]:
            raise wrong_result(self.task, "pictures", f"returned {shown(wrong[0])}, but Pictures were expected")
        return tuple(replace(picture, caption=printable(picture.caption)) for picture in pictures)

    @property
    def data_hash(self) -> str:
        """Return the sha256 of the data."""
        with naming_task_code(self.task, "data_hash"):
            found: Any = self.task.data_hash
        if not isinstance(found, str) or not found.strip() or found != printable(found):
            hint = "; it is a property: @property" if callable(found) else ""
            raise wrong_result(self.task, "data_hash", f"is {shown(found)}, but a text was expected{hint}")
        return found

    def save(self, folder: Path) -> None:
        """Write beside a trained model what is needed to use it."""
        with naming_task_code(self.task, "save"):
            self.task.save(folder)

    def _metrics(self, metrics: Any) -> dict[str, float]:
        """Return the metrics as floats. Raise TypeError for names that cannot be kept, or without the ranking one."""
        try:
            named = as_named_numbers(metrics)
        except TypeError as error:
            raise TypeError(f"metrics {error}") from None
        if wrong := [name for name in metrics if not is_metric_name(name) or name == _OWN_METRIC]:
            why = "is the lab's own" if wrong[0] == _OWN_METRIC else "is not made of letters, digits, _ - . : / alone"
            raise TypeError(f"a metric's name, {shown(wrong[0])}, {why}; choose another one")
        if self.task.metric.name not in named:
            raise TypeError(f"metrics {', '.join(named) or '(none)'}, without the ranking one, {self.task.metric.name}")
        return named


def _slices(slices: Any) -> dict[str, dict[str, float]]:
    """Return title → label → number. Raise TypeError for anything else."""
    if not isinstance(slices, Mapping):
        raise TypeError(f"slices must be a mapping of titles to mappings, not {shown(slices)}")
    try:
        return {as_label(title): as_named_numbers(parts) for title, parts in slices.items()}
    except TypeError as error:
        raise TypeError(f"slices {error}") from None


def _items(items: Any) -> tuple[float, ...]:
    try:
        return as_numbers(items)
    except TypeError as error:
        raise TypeError(f"items {error}") from None
