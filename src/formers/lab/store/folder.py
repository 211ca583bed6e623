"""The folder of a study: one process at a time works in it, and it says which study it holds."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from formers.lab.distributed import ranks
from formers.lab.store.lock import alone_in
from formers.lab.store.write_error import WriteError, writing
from formers.lab.study.study import Study
from formers.lab.train.progress import Progress
from formers.lab.train.stop import Stopped
from formers.tasks.task import digest

_FILE = "study.yaml"


@contextmanager
def folder_of(study: Study, progress: Progress) -> Iterator[None]:
    """The study's folder for this process alone, with the study's description in it.

    What breaks the block off without having been asked for (a full disk, an impatient Ctrl-C) leaves it with what is kept
    and how to go on.
    """
    try:
        with alone_in(study.place):
            _describe(study, progress)
            yield
    except WriteError as error:
        raise WriteError(f"{error}\nWhat was kept before is still there. {go_on(study)}") from error
    except Stopped:
        raise
    except KeyboardInterrupt:
        raise Stopped(f"stopped at once; what is since the last checkpoint is lost. {go_on(study)}") from None


def go_on(study: Study) -> str:
    """The command that goes on with a study that was broken off."""
    return f"Go on with: {shlex.join([*ranks.launcher(), 'ablate', str(study.place / _FILE)])}"


def _describe(study: Study, progress: Progress) -> None:
    """Writes the study's description. That of another study, which would be lost, is put aside under another name first."""
    path = study.place / _FILE
    with writing("the study's description", path):
        if path.is_file() and not _covers(study, text := path.read_text(encoding="utf-8")):
            aside = path.with_name(f"study-{digest([text])[:8]}.yaml")
            os.replace(path, aside)
            progress.note(
                f"{study.place} held another study: it is described in {aside.name} now, and its rows and models stay; "
                f"its report comes back with: {shlex.join([*ranks.launcher(), 'ablate', str(aside)])}"
            )
        part = path.with_name(f".{_FILE}.part")
        study.to_yaml(part)
        os.replace(part, path)


def _covers(study: Study, text: str) -> bool:
    """Whether a study has everything in it that a description has: the same task and budget, every arm, every seed."""
    try:
        before = yaml.safe_load(text)
    except yaml.YAMLError:
        return False
    now: dict[str, Any] = study.plain()
    if not isinstance(before, dict) or not {"arms", "seeds"} <= set(before):
        return False
    same = all(before.get(name) == value for name, value in now.items() if name not in ("arms", "seeds"))
    return same and all(item in now[name] for name in ("arms", "seeds") for item in before[name])
