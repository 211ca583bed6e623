"""The class of a task, checked before anything is done with it: the methods and attributes that every task has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from formers.tasks.checks.task_error import TaskError, class_place, place_of
from formers.tasks.checks.values import is_metric_name, shown
from formers.tasks.metric import TaskMetric
from formers.tasks.task import Task

_METHODS = ("base", "build", "evaluate", "data_hash")
_SEE = "docs/tasks.md has a whole example"


def check_declaration(task: Task) -> None:
    """Raise TaskError where a task's class lacks a method or an attribute, or has a wrong one."""
    kind = type(task)
    here = f"{kind.__name__} ({class_place(kind)})"
    missing = [name for name in _METHODS if getattr(kind, name) is getattr(Task, name)]
    missing += [name for name in _ATTRIBUTES if not hasattr(task, name)]
    if missing:
        raise TaskError(f"{here} does not define {', '.join(missing)}; {_SEE}")
    for name, (is_right, wanted) in _ATTRIBUTES.items():
        if not is_right(getattr(task, name)):
            raise TaskError(f"{here}: {name} must be {wanted}, not {shown(getattr(task, name))}; {_SEE}")
    if not isinstance(task.length, int) or task.length < 1:
        raise TaskError(f"{place_of(task, 'length')} must be a number of tokens, at least 1, not {shown(task.length)}")


def _is_metric(value: Any) -> bool:
    """Return whether a metric says how it is called, and which way is better."""
    if not isinstance(value, TaskMetric):
        return False
    texts = isinstance(value.label, str) and isinstance(value.unit, str)
    return is_metric_name(value.name) and texts and isinstance(value.lower_is_better, bool)


def _is_texts(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and all(isinstance(text, str) for text in value)


_ATTRIBUTES: dict[str, tuple[Any, str]] = {
    "description": (lambda value: isinstance(value, str), "a sentence or two"),
    "metric": (_is_metric, "a TaskMetric(name=…, label=…, lower_is_better=…), its name of letters, digits and _"),
    "at_other_lengths": (lambda value: isinstance(value, str), "a sentence, or empty"),
    "head": (lambda value: isinstance(value, str), "the name of a class in formers.models"),
    "arms": (_is_texts, "a tuple of texts such as 'softmax: mixer=softmax'"),
    "arm_options": (_is_texts, "a tuple of names of the task's options"),
    "budget": (lambda value: isinstance(value, Mapping), "a mapping such as {'steps': 300, 'batch_size': 32}"),
}
"""Attribute → a test of its value, and the words for what it must be."""
