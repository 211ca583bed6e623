"""Tasks in a user's own file."""

from __future__ import annotations

from pathlib import Path

from formers.part import check_names
from formers.part.own_files import kinds_in
from formers.tasks.task import Task


def own_task(file: str, text: str) -> Task:
    """Return the task in a Python file: the one that `name(option=…)` means, or without a text the only one there is.

    The file is run, as a file given to `python` is. Raise `FileNotFoundError` where there is none, `ValueError` where
    it holds no such task, or cannot be run, with the line.
    """
    path = Path(file).expanduser().resolve()
    if not path.is_file():
        raise FileNotFoundError(f"there is no task file at {path}")
    kinds = {kind.name(): kind for kind in kinds_in(path, "task file") if issubclass(kind, Task)}
    if not kinds:
        raise ValueError(f"{path} defines no task: no subclass of formers.tasks.Task")
    if not text and len(kinds) > 1:
        raise ValueError(f"{path} defines {', '.join(kinds)}; say which: {file}:{next(iter(kinds))}")
    name = text.partition("(")[0].strip() or next(iter(kinds))
    check_names(str(path), [name], [*kinds], word="task")
    return kinds[name].parse(text or name)
