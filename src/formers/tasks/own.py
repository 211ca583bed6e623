"""Tasks in a user's own file."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from traceback import extract_tb

from formers.part import check_names, option_hints
from formers.part.error_line import one_line_of
from formers.tasks.task import Task


def own_task(file: str, text: str) -> Task:
    """Return the task in a Python file: the one that `name(option=…)` means, or without a text the only one there is.

    The file is run, as a file given to `python` is. Raise `FileNotFoundError` where there is none, `ValueError` where
    it holds no such task, or cannot be run, with the line.
    """
    path = Path(file).expanduser().resolve()
    if not path.is_file():
        raise FileNotFoundError(f"there is no task file at {path}")
    kinds = {kind.name(): kind for kind in _kinds_in(path, path.stat().st_mtime_ns)}
    if not kinds:
        raise ValueError(f"{path} defines no task: no subclass of formers.tasks.Task")
    if not text and len(kinds) > 1:
        raise ValueError(f"{path} defines {', '.join(kinds)}; say which: {file}:{next(iter(kinds))}")
    name = text.partition("(")[0].strip() or next(iter(kinds))
    check_names(str(path), [name], [*kinds], word="task")
    return kinds[name].parse(text or name)


@lru_cache(maxsize=16)
def _kinds_in(path: Path, modified: int) -> tuple[type[Task], ...]:
    """Return the tasks that a file defines, each knowing its file; `modified` tells a changed file from the one run
    before."""
    name = f"formers_own_{path.stem}_{sha256(f'{path}/{modified}'.encode()).hexdigest()[:8]}"
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and inspect look their classes' modules up there
    try:
        spec.loader.exec_module(module)
        kinds = _public_tasks(vars(module).values(), name)
        for kind in kinds:
            option_hints(kind)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ValueError(f"cannot run the task file {_line_of(path, error)}") from error
    for kind in kinds:
        kind.origin = str(path)
    return kinds


def _public_tasks(values: Iterable[object], module: str) -> tuple[type[Task], ...]:
    """Return the tasks among some values that a module defines, without those whose names begin with `_`."""
    found = [v for v in values if isinstance(v, type) and issubclass(v, Task) and v.__module__ == module]
    return tuple(kind for kind in found if not kind.__name__.startswith("_"))


def _line_of(path: Path, error: BaseException) -> str:
    """Return the line of a file that an error is about, and the error, in one line."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"{path}, line {error.lineno}: {type(error).__name__}: {error.msg}"
    lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == str(path)]
    place = f"{path}, line {lines[-1]}" if lines else str(path)
    return f"{place}: {one_line_of(error)}"
