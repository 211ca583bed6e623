"""Relative paths of a task's data, found again from whatever folder a study is gone on with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from formers.tasks.task import Task


def relative_path(task: Task) -> str:
    """Return the path of a task's data, where it has one that is relative; else an empty text."""
    path = getattr(task, "path", None)
    return path if isinstance(path, str) and path and not path.startswith("~") and not Path(path).is_absolute() else ""


def start_of(task: Task, folders: Sequence[Path]) -> Path:
    """Return the first of the folders from which a task's relative path leads to something; else the first one."""
    path = relative_path(task)
    return next((folder for folder in folders if path and (folder / path).exists()), folders[0])


def located(task: Task, folder: Path) -> Task:
    """Return the task with a relative path of its data read from `folder`, where something is there."""
    path = relative_path(task)
    return task.swap(path=str(folder / path)) if path and (folder / path).exists() else task
