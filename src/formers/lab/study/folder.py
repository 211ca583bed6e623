"""The folder of a study: one process at a time works in it, and a file in it describes the study."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from formers.lab.store.lock import lock_folder
from formers.lab.store.write_error import reporting_write_errors
from formers.lab.study.command_line import file_command
from formers.lab.study.study import Study
from formers.lab.study.yaml import write_study
from formers.lab.study.yaml_text import parse_yaml
from formers.tasks.task import digest

_FILE = "study.yaml"
_LISTS = ("arms", "seeds", "eval_lengths")
_NUMBERS = ("trials", "front")
"""What a study may have more of than before: items of lists, and numbers."""


@contextmanager
def open_folder(study: Study, notify: Callable[[str], None]) -> Iterator[None]:
    """Hold the study's folder for this process alone while the block runs, with the study's description in it.

    `notify` is told where another study was described there.

    Raises:
        FolderInUse: where another process works in the folder.
        WriteError: where the description cannot be written.
    """
    with lock_folder(study.folder):
        _write_description(study, notify)
        yield


def how_to_resume(study: Study) -> str:
    """Return the command that goes on with a study which was broken off."""
    return f"Go on with: {file_command(study.folder / _FILE)}"


def _write_description(study: Study, notify: Callable[[str], None]) -> None:
    """Write the study's description. That of another study, which would be lost, is renamed first."""
    path = study.folder / _FILE
    with reporting_write_errors("the study's description", path):
        if path.is_file() and not _covers(study, text := path.read_text(encoding="utf-8", errors="replace")):
            notify(_set_aside(path, path.with_name(f"study-{digest([text])[:8]}.yaml"), study.folder))
        write_study(study, path)


def _set_aside(path: Path, aside: Path, folder: Path) -> str:
    """Rename a description, and return what to tell about it."""
    os.replace(path, aside)
    return (
        f"{folder} held another study: it is described in {aside.name} now, and its rows and models stay; "
        f"its report comes back with: {file_command(aside)}"
    )


def _covers(study: Study, text: str) -> bool:
    """Return whether a study has everything that a description has.

    That is the same task and budget, every arm, every seed, and every length to test at.
    """
    try:
        before = parse_yaml(text)
    except ValueError:
        return False
    if not isinstance(before, dict):
        return False
    plain = {"eval_lengths": [], "precision": "fp32"}
    before, now = (plain | description for description in (before, study.to_dict()))
    if not all(isinstance(before.get(name), list) for name in _LISTS):
        return False
    same = all(before.get(name) == value for name, value in now.items() if name not in (*_LISTS, *_NUMBERS))
    counts = all(_count(before, name) <= _count(now, name) for name in _NUMBERS)
    return same and counts and all(item in now[name] for name in _LISTS for item in before[name])


def _count(description: dict[str, Any], name: str) -> float:
    """Return a number in a description; 0 where it has none."""
    value = description.get(name, 0)
    return value if isinstance(value, (int, float)) else 0
