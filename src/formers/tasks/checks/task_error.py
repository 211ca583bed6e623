"""Errors that name the code of a task: its class and method, the file and the line."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_tb
from typing import Any

from formers.part import Unsupported
from formers.part.error_line import one_line_of
from formers.tasks.task import Task


class TaskError(ValueError):
    """The code of a task raised, or returned something that cannot be used. The message is one line, and names it.

    Where the code raised, its own error is the cause.
    """


def wrong_result(task: Task, method: str, problem: str) -> TaskError:
    """Return the error for a method that returned something wrong: `Parity.evaluate (parity.py, line 41) …`."""
    return TaskError(f"{place_of(task, method)} {problem}")


@contextmanager
def naming_task_code(task: Task, method: str, what: str = "") -> Iterator[None]:
    """Turn what a user's own task raises inside the block into a `TaskError` with the line of its file that raised it.

    `what` tells which of many results it was, as `[7]` does. Errors that do not come from a user's code stay as they
    are, and so does `Unsupported`. SystemExit is an error here: a task cannot end the process.
    """
    try:
        yield
    except (TaskError, Unsupported):
        raise
    except (Exception, SystemExit) as error:
        line = _own_line(task, error)
        if line is None and isinstance(error, Exception) and not what:
            raise
        name = f"{type(task).__name__}.{method}{what}"
        raised = f"{name} ({line}) raised" if line else f"{place_of(task, method, what)} raised"
        raise TaskError(f"{raised} {one_line_of(error)}") from error


def place_of(task: Task, method: str, what: str = "") -> str:
    """Return a method of a task with the place where it is written, as far as that is known."""
    name = f"{type(task).__name__}.{method}{what}"
    found: Any = inspect.getattr_static(type(task), method, None)
    function = getattr(found, "fget", None) or getattr(found, "__func__", found)
    code = getattr(inspect.unwrap(function) if callable(function) else None, "__code__", None)
    return f"{name} ({code.co_filename}, line {code.co_firstlineno})" if code else f"{name} ({class_place(type(task))})"


def class_place(kind: type[Task]) -> str:
    """Return the file and the line of a task's class, as far as they are known."""
    try:
        return f"{inspect.getsourcefile(kind) or kind.__module__}, line {inspect.getsourcelines(kind)[1]}"
    except (OSError, TypeError):
        return kind.__module__


def raised_by_task(error: BaseException) -> BaseException:
    """Return what the code of a task raised, for a `TaskError` that has it as its cause; any other error as it is."""
    return error.__cause__ if isinstance(error, TaskError) and error.__cause__ is not None else error


def _own_line(task: Task, error: BaseException) -> str | None:
    """Return the file and the line of a user's code that an error came through last; None where it did not."""
    own = {kind.__module__ for kind in type(task).__mro__ if issubclass(kind, Task)}
    own = {module for module in own if module.partition(".")[0] != __package__.partition(".")[0]}
    lines = [
        f"{frame.f_code.co_filename}, line {line}"
        for frame, line in walk_tb(error.__traceback__)
        if frame.f_globals.get("__name__") in own
    ]
    return lines[-1] if lines else None
