"""Tasks: what arms are trained on, and how they are judged. One file a task."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

_HOMES = {
    "formers.tasks.evaluation": ("Evaluation", "Split"),
    "formers.tasks.metric": ("TaskMetric",),
    "formers.tasks.picture": ("Picture",),
    "formers.tasks.task": ("Task",),
    "formers.tasks.characters": ("Characters",),
    "formers.tasks.shakespeare": ("Shakespeare",),
    "formers.tasks.language_modelling": ("Text",),
    "formers.tasks.masked_modelling": ("Mlm",),
    "formers.tasks.sort": ("Sort",),
    "formers.tasks.sort_sequence": ("SortSequence",),
    "formers.tasks.recall": ("Recall",),
    "formers.tasks.needle.task": ("Needle",),
    "formers.tasks.listops": ("Listops",),
    "formers.tasks.classify": ("Classify",),
    "formers.tasks.reviews": ("Reviews",),
    "formers.tasks.glue": ("Glue",),
    "formers.tasks.mnist.task": ("Mnist",),
    "formers.tasks.control.control": ("Control",),
    "formers.tasks.tmaze": ("Tmaze",),
}
_LIBRARY = (
    *("Shakespeare", "Text", "Mlm", "Sort", "SortSequence", "Recall", "Listops", "Classify", "Reviews", "Glue"),
    *("Mnist", "Control", "Tmaze", "Needle"),
)
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
SHORT = re.compile(r"(?P<suite>\w+)/(?P<task>\w+)(?P<options>\(.*\))?$", re.DOTALL)
"""A task of a suite, as in `glue/cola`."""
OWN = re.compile(r"(?P<file>[^()]+\.py)(?::(?P<text>.*))?$", re.DOTALL)
"""A file, and a task in it."""
_UNQUOTED = re.compile(
    r"[(,]\s*\w+\s*=\s*(?![-+\d.eE]+\s*[,)])(?=[^'\"\[(,)]*[/\\.~])(?P<value>[^\s'\"\[(,)][^'\"\[(,)]*)(?=[,)])"
)
"""An option's value that looks like a path and has no quotes."""
__all__ = sorted([*_HOME_OF, "TASKS", "parse"])


def __getattr__(name: str) -> Any:
    # Lazy, so that reading a report needs no torch.
    if name == "TASKS":
        return tuple(__getattr__(name) for name in _LIBRARY)
    if name not in _HOME_OF:
        raise AttributeError(f"module 'formers.tasks' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOME_OF[name]), name)


def parse(text: str) -> Any:
    """Return the task that a text like `sort(length=16)` or `glue/cola(length=32)` means.

    `my_task.py` or `my_task.py:parity(length=8)` is a task of a user's own; the file is run.
    """
    kinds = __getattr__("TASKS")
    try:
        if own := OWN.match(text.strip()):
            return import_module("formers.tasks.own").own_task(own["file"], own["text"] or "")
        short = SHORT.match(text.strip())
        return kinds[0].axis.parse(spelt_out(short) if short else text.strip())
    except ValueError as error:
        if found := _UNQUOTED.search(text):
            start = found.start("value")
            quoted = f"{text[:start]}{found['value'].strip()!r}{text[found.end('value') :]}"
            raise ValueError(f"cannot read {text!r}: a path needs quotes: {quoted}") from error
        raise


def spelt_out(short: re.Match[str]) -> str:
    """Return a task of a suite in full: `glue/cola(length=32)` → `glue(task='cola',length=32)`."""
    options = (short["options"] or "()")[1:]
    return f"{short['suite']}(task={short['task']!r},{options}"
