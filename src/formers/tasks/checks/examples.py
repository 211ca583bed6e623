"""The examples of a task, each checked as it is asked for, and the batches that they make."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from formers.tasks.checks.task_error import TaskError, naming_task_code, place_of, wrong_result
from formers.tasks.checks.values import shown
from formers.tasks.stacked import StackedExamples
from formers.tasks.task import BEGINS, Example, Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_RENAMED = {"label": "labels", "label_ids": "labels"}
"""Names that Hugging Face's collators take for labels."""
_IGNORED = -100


class CheckedExamples(Dataset[Example]):
    """The examples that a task built: mappings of names to tensors, all of them with the shapes of the first.

    Numbers, lists and NumPy arrays become tensors, float64 the default type.
    """

    def __init__(self, task: Task, data: Any, seed: int, count: int) -> None:
        """Raise TaskError for what is not a data set with an example for each of `count`."""
        self.task, self.data, self.call = task, data, f"({seed}, {count})"
        if not hasattr(data, "__getitem__") or not hasattr(data, "__len__"):
            wanted = "a data set with a length and numbered examples was expected"
            raise wrong_result(task, "build", f"returned {shown(data)}, but {wanted}")
        with naming_task_code(task, "build", f"{self.call}, its length,"):
            self.count = len(data)
        if self.count < count:
            raise wrong_result(
                task,
                "build",
                f"returned {self.count} examples, but {count} were asked for; draw some again, from the seed and their "
                "number, as formers.tasks.task.Generated does",
            )

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Example:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Example] | StackedExamples:
        """Return the examples of a batch, which a data set may have a faster way to: its own `__getitems__`."""
        together = getattr(self.data, "__getitems__", None)
        if together is None or len(indices) == 1:
            return [self._checked(index, self._found(index)) for index in indices]
        with naming_task_code(self.task, "build", f"{self.call}[{indices[0]}] and those after it"):
            found = together(indices)
        if isinstance(found, StackedExamples) and self._have_layout(found, len(indices)):
            return found
        if not isinstance(found, (list, StackedExamples)) or len(found) != len(indices):
            raise self._wrong(indices[0], f"came with {shown(found)}, but {len(indices)} examples were expected")
        return [self._checked(index, example) for index, example in zip(indices, found, strict=True)]

    def _checked(self, index: int, found: Any) -> Example:
        """Return what the data set has for an example, as one that a batch can be made of."""
        if self._has_layout(found):
            return found
        example = self._example(index, found)
        for name, tensor in example.items():
            if name not in self._first or tensor.shape != self._first[name].shape:
                raise self._different(index, example)
        if len(example) != len(self._first):
            raise self._different(index, example)
        return example

    @cached_property
    def _first(self) -> Example:
        return self._example(0, self._found(0))

    @cached_property
    def _layout(self) -> dict[str, tuple[torch.Size, torch.dtype]]:
        """Name → shape and type of what the first example has; empty where it has floats, which may be NaN."""
        layout = {name: (tensor.shape, tensor.dtype) for name, tensor in self._first.items()}
        return {} if any(dtype.is_floating_point for _, dtype in layout.values()) else layout

    def _has_layout(self, found: Any) -> bool:
        """Return whether an example is plain tensors as in the first one, so that nothing has to be done to it."""
        if type(found) is not dict or not self._layout or len(found) != len(self._layout):
            return False
        for name, value in found.items():
            if type(value) is not Tensor or self._layout.get(name) != (value.shape, value.dtype):
                return False
        return True

    def _have_layout(self, found: StackedExamples, count: int) -> bool:
        """Return whether there are `count` examples with plain tensors as in the first one, as `_has_layout` does."""
        if len(found.tensors) != len(self._layout):
            return False
        for name, value in found.tensors.items():
            shape, dtype = self._layout.get(name, (None, None))
            if shape is None or type(value) is not Tensor or value.dtype != dtype or value.shape != (count, *shape):
                return False
        return True

    def _found(self, index: int) -> Any:
        """Return what the data set has under a number."""
        with naming_task_code(self.task, "build", f"{self.call}[{index}]"):
            return self.data[index]

    def _example(self, index: int, found: Any) -> Example:
        """Return an example with tensors only."""
        if not isinstance(found, Mapping) or not found or not all(isinstance(name, str) for name in found):
            raise self._wrong(index, f"is {shown(found)}, but a mapping of the model's inputs to tensors was expected")
        tensors: Example = {}
        for name, value in found.items():
            if value is not None:
                tensors[_RENAMED.get(name) or name] = self._tensor(index, name, value)
        return tensors

    def _tensor(self, index: int, name: str, value: Any) -> Tensor:
        try:
            tensor = value if isinstance(value, Tensor) else torch.as_tensor(value)
        except (TypeError, ValueError, RuntimeError):
            raise self._wrong(index, f"has {name} {shown(value)}, but a tensor was expected") from None
        tensor = tensor.to(torch.get_default_dtype()) if tensor.dtype == torch.float64 else tensor
        if tensor.is_floating_point() and bool(tensor.isnan().any()):
            raise self._wrong(index, f"has NaN in {name}")
        return tensor

    def _different(self, index: int, example: Example) -> TaskError:
        here, first = (", ".join(f"{k} {tuple(v.shape)}" for k, v in e.items()) for e in (example, self._first))
        return self._wrong(
            index, f"has {here}, but example 0 has {first}; pad or cut them to one length: formers.tasks.padding.padded"
        )

    def _wrong(self, index: int, problem: str) -> TaskError:
        return TaskError(f"{place_of(self.task, 'build', f'{self.call}[{index}]')} {problem}")


class Collator:
    """Makes batches of a task's examples, and checks that the model can take them.

    Indices that are too large are an error here: on a GPU, they would end every training in the process.
    """

    def __init__(self, task: Task, model: PreTrainedModel) -> None:
        self.task, self.model, self._is_checked = task, model, False

    def __call__(self, examples: Sequence[Example] | StackedExamples) -> dict[str, Any]:
        """Return the examples as one batch, in tensors of its own. Raise TaskError where the model cannot take it.

        `BEGINS` of a contiguous task is in it as a list of booleans, which no device has to be waited for.
        """
        if isinstance(examples, StackedExamples):
            begins = examples.tensors.get(BEGINS)
            batch = {name: tensor.clone() for name, tensor in examples.tensors.items() if name != BEGINS}
        else:
            begins = torch.stack([example[BEGINS] for example in examples]) if BEGINS in examples[0] else None
            names = [name for name in examples[0] if name != BEGINS]
            batch = {name: torch.stack([example[name] for example in examples]) for name in names}
        if not self._is_checked:
            self._check_names(batch)
            self._is_checked = True
        if type(self.task).model is Task.model:
            self._check_ids(batch)
        return batch if begins is None else {**batch, BEGINS: [bool(row) for row in begins]}

    def _check_names(self, batch: Mapping[str, Tensor]) -> None:
        """Raise TaskError for an input that the model does not have, or without labels, which the loss is made of."""
        taken = inspect.signature(self.model.forward).parameters
        takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values())
        name = type(self.model).__name__
        if unknown := [] if takes_any else [name for name in batch if name not in taken]:
            given = f"have {', '.join(unknown)}"
            raise self._wrong(f"{given}, which {name} does not take; it takes {', '.join(taken)}")
        if "labels" in taken and "labels" not in batch:
            raise self._wrong(f"have no labels, of which {name} makes its loss; they have {', '.join(batch)}")

    def _check_ids(self, batch: Mapping[str, Tensor]) -> None:
        """Raise TaskError for tokens and classes that do not exist."""
        ids, labels, config = batch.get("input_ids"), batch.get("labels"), self.model.config
        if ids is not None:
            if ids.ndim != 2 or ids.is_floating_point() or ids.is_complex() or not ids.numel():
                raise self._wrong(f"have input_ids {shown(ids[0])}, but tokens, integers (L,), were expected")
            self._check_range("input_ids", ids, config.vocab_size, "tokens (vocab_size)")
        if labels is None or labels.is_floating_point() or labels.dtype == torch.bool or not labels.numel():
            return
        if self.task.head in ("CausalLM", "MaskedLM", "PixelLM", "Seq2SeqLM"):
            self._check_range("labels", labels, config.vocab_size, "tokens (vocab_size)")
        elif config.num_labels > 1 and config.problem_type in (None, "single_label_classification"):
            self._check_range("labels", labels, config.num_labels, "classes (num_labels)")

    def _check_range(self, name: str, values: Tensor, count: int, what: str) -> None:
        low, high = (int(value) for value in values.aminmax())
        if low < 0 and name == "labels":
            values = values[values != _IGNORED]
            low, high = (int(value) for value in values.aminmax()) if values.numel() else (0, 0)
        if low < 0 or high >= count:
            wrong = low if low < 0 else high
            raise self._wrong(f"have {name} {wrong}, but the model has {count} {what}: 0 to {count - 1}")

    def _wrong(self, problem: str) -> TaskError:
        return wrong_result(self.task, "build", f"returned examples that {problem}")
