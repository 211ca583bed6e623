"""Crashes of trainings: processes that were killed, ran out of memory, or lost power. The third is the last."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from formers.lab.distributed import ranks
from formers.lab.store.write_error import reporting_write_errors
from formers.machine.files import overwrite, write_atomically
from formers.machine.sealed_json import json_from_text, sealed, unsealed

FILE = "attempt.json"
"""It lies beside a training's checkpoints while the training runs; where it is found, the one before crashed."""
_LIMIT = 3
"""Crashes in a row at the same step, after which an arm is given up until the study is started again."""


class RepeatedCrash(RuntimeError):
    """A training whose process crashes at the same step each time."""


@dataclass
class TrainingAttempt:
    """A training that is under way, and those before it that crashed.

    Attributes:
        path: the file that tells of it.
        crashes: the steps that earlier attempts are known to have reached when they crashed, in order.
        step: the step that this one has reached.
    """

    path: Path
    crashes: tuple[int, ...] = ()
    step: int = field(default=0, init=False)
    _bytes_written: int = field(default=0, init=False)

    def record_step(self, step: int) -> None:
        """Write down how far the training has come.

        The file is written over, never emptied first: some systems (ext4) put what was emptied on the disk at once.
        One that is cut off in the middle is noticed by its digest.
        """
        self.step = step
        if not ranks.is_rank0():
            return
        with reporting_write_errors("how far the training is", self.path):
            text = json.dumps(sealed({"deaths": self.crashes, "step": step})).ljust(self._bytes_written)
            if self._bytes_written:
                overwrite(self.path, text)
            else:
                write_atomically(self.path, text)
            self._bytes_written = len(text)


@contextmanager
def count_crashes(folder: Path) -> Iterator[TrainingAttempt]:
    """Yield an attempt at the training whose checkpoints are in `folder`.

    However the block ends, the attempt counts as no crash; it is one where the process ends before the block does.

    Raises:
        RepeatedCrash: at the third crash in a row at the same step. The next attempt counts anew.
        WriteError: where the file cannot be read or written.
    """
    path = folder / FILE
    with reporting_write_errors("how far the training is", path):
        before = _read_crashes(path)
    crashes = ranks.broadcast_from_rank0(before)  # so that all ranks give up, or none
    if len(crashes) >= _LIMIT and len(set(crashes[-_LIMIT:])) == 1:
        if ranks.is_rank0():
            path.unlink()
        raise RepeatedCrash(
            f"its process died {_LIMIT} times in a row after step {crashes[-1]}: was it killed, or is there too little "
            "memory? Its checkpoint is kept; started again, it is tried again"
        )
    attempt = TrainingAttempt(path, crashes)
    attempt.record_step(crashes[-1] if crashes else 0)
    try:
        yield attempt
    finally:
        if ranks.is_rank0():
            path.unlink(missing_ok=True)


def _read_crashes(path: Path) -> tuple[int, ...]:
    """Return the steps at which earlier attempts crashed, the last one included.

    A file that was cut off in the middle of a write, or that holds anything else, counts as step 0.
    """
    try:
        before = unsealed(json_from_text(path.read_text(encoding="utf-8")))
        steps = (*before["deaths"], before["step"])
    except FileNotFoundError:
        return ()
    except (ValueError, KeyError, TypeError):
        return (0,)
    return steps if all(type(step) is int and step >= 0 for step in steps) else (0,)
