"""How far an index of FAISS has come while it is built: on the disk, so that a build goes on where it was stopped."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from formers.machine.files import flush_to_disk, write_atomically
from formers.machine.sealed_json import json_from_text, sealed, unsealed
from formers.part.faiss_library import faiss_library

_LEAST_SECONDS = 10.0
_MOST_SHARE = 0.05
"""Of the time of a build, that saving may take."""


class IndexCheckpoint:
    """An index that is trained and holds the first keys of a datastore, in hidden files beside where it will be.

    Each is a file of FAISS, named by the number of its keys, and a note with its digest, written after it: a file
    without its note, or with another one's, was cut off, and does not count.

    Args:
        path: where the finished index goes.
        about: what it depends on; one of other things does not count.
    """

    def __init__(self, path: Path, about: dict[str, str]):
        self.path, self.about = path, about
        self._last, self._seconds = time.monotonic(), 0.0

    def load(self) -> Any | None:
        """Return the index with the most keys that is whole; None where there is none."""
        for _, note in sorted(self._notes().items(), reverse=True):
            file = note.with_suffix("")
            with suppress(ValueError, OSError):
                if unsealed(json_from_text(note.read_text(encoding="utf-8"))) == self.about | {"file": digest_of(file)}:
                    return faiss_library().read_index(str(file))
        return None

    def save(self, index: Any) -> None:
        """Write the index, and then remove what was written of fewer keys. Raise OSError where there is no room."""
        started, before = time.monotonic(), self._notes()
        file = self.path.with_name(f".{self.path.name}.{index.ntotal}.partial")
        write_index(index, file)
        note = file.with_name(f"{file.name}.json")
        write_atomically(note, json.dumps(sealed(self.about | {"file": digest_of(file)})) + "\n", flush=True)
        _remove(other for other in before.values() if other != note)
        self._last = time.monotonic()
        self._seconds = self._last - started

    def save_if_due(self, index: Any) -> None:
        """Write the index if enough time has passed since the last time that this takes a small share of it."""
        if time.monotonic() - self._last >= max(_LEAST_SECONDS, self._seconds / _MOST_SHARE):
            self.save(index)

    def remove(self) -> None:
        """Remove all that was written."""
        _remove(self._notes().values())

    def _notes(self) -> dict[int, Path]:
        """Return the notes of what was written, by the number of keys."""
        start, end = f".{self.path.name}.", ".partial.json"
        numbers = {
            path.name.removeprefix(start).removesuffix(end): path for path in self.path.parent.glob(f"{start}*{end}")
        }
        return {int(number): path for number, path in numbers.items() if number.isdecimal()}


def _remove(notes: Iterable[Path]) -> None:
    """Remove notes, and then the files that they are about."""
    for note in notes:
        note.unlink(missing_ok=True)
        note.with_suffix("").unlink(missing_ok=True)


def write_index(index: Any, path: Path) -> None:
    """Write an index of FAISS to a file that is whole or not there, and on the disk."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        faiss_library().write_index(index, str(part))
        flush_to_disk(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def digest_of(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
