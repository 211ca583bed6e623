"""Trainings that died without a word: killed from outside, out of the machine's memory, a power cut."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from formers.lab.distributed import ranks
from formers.lab.store.write_error import writing

FILE = "attempt.json"
_LIMIT = 3
"""Deaths in a row at the same step, after which an arm is given up until the study is started again."""


class Died(RuntimeError):
    """A training that dies at the same step each time."""


@dataclass
class Attempt:
    """A training that is under way. Its file is there while it runs; found by the next attempt, it tells that this one died."""

    path: Path
    deaths: tuple[int, ...] = ()
    "The steps that earlier attempts are known to have reached when they died, in order."
    steps: int = field(default=0, init=False)
    length: int = field(default=0, init=False)
    "Of the file, once it has been written."

    def reached(self, step: int) -> None:
        """Notes how far the training has come.

        The file is written over, never emptied first: some systems (ext4) put what was emptied on the disk at once.
        """
        self.steps = step
        if not ranks.is_rank0():
            return
        with writing("how far the training is", self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps({"deaths": self.deaths, "step": step}).ljust(self.length)
            with self.path.open("r+" if self.length else "w", encoding="utf-8") as file:
                file.write(text)
            self.length = len(text)


@contextmanager
def attempt(folder: Path) -> Iterator[Attempt]:
    """An attempt at the training whose checkpoints are in `folder`. Any end of the block but a dying process is a good one.

    Raises:
        Died: at the third death in a row at the same step. The next attempt counts anew.
        WriteError: where the file cannot be read or written.
    """
    path = folder / FILE
    with writing("how far the training is", path):
        before = _died(path)
    deaths = ranks.broadcast_from_rank0(before)  # so that all ranks give up, or none
    if len(deaths) >= _LIMIT and len(set(deaths[-_LIMIT:])) == 1:
        if ranks.is_rank0():
            path.unlink()
        raise Died(
            f"its process died {_LIMIT} times in a row after step {deaths[-1]}: was it killed, or is there too little memory? "
            "Its checkpoint is kept; started again, it is tried again"
        )
    current = Attempt(path, deaths)
    current.reached(deaths[-1] if deaths else 0)
    try:
        yield current
    finally:
        if ranks.is_rank0():
            path.unlink(missing_ok=True)


def _died(path: Path) -> tuple[int, ...]:
    """Where earlier attempts died, the last one included; a file that was cut off in the middle of a write counts as step 0."""
    try:
        before: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return (*before["deaths"], before["step"])
    except FileNotFoundError:
        return ()
    except (ValueError, KeyError, TypeError):
        return (0,)
