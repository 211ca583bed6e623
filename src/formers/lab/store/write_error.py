"""Failing to write: not a fact about an arm, but a reason to stop before anything is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError


class WriteError(OSError):
    """Something of a study could not be written: a full disk, a folder without permission. What was there is untouched."""


@contextmanager
def writing(what: str, place: Path | str) -> Iterator[None]:
    """Turns a failure to write, inside the block, into `WriteError` with what was to be kept and where."""
    try:
        yield
    except WriteError:
        raise
    except (OSError, SafetensorError) as error:
        raise WriteError(f"cannot keep {what} in {place}: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """An error in a line, without its number; with the file, where it names one."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        file = error.filename2 or error.filename
        text = f"{error.strerror}: {file}" if file else error.strerror
    return " ".join(text.split()) or type(error).__name__
