"""Failures to write: no fact about an arm, but a reason to stop before anything is lost."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeGuard

from safetensors import SafetensorError

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""No room, no quota, no permission to write at all, a fault."""


class WriteError(OSError):
    """Something could not be written: a full disk, a folder without permission. What was there is untouched."""


class NoAnswer(WriteError):
    """The tracking server gave no answer; it may later."""


@contextmanager
def reporting_write_errors(what: str, place: Path | str) -> Iterator[None]:
    """Turn a failure to write, inside the block, into a WriteError that names what was to be kept and where."""
    try:
        yield
    except WriteError:
        raise
    except (OSError, SafetensorError) as error:
        raise WriteError(f"cannot keep {what} in {place}: {one_line(error)}") from error


def is_about_the_disk(error: BaseException | None) -> TypeGuard[OSError]:
    """Return whether an error is about the disk, not about what was to be written."""
    return isinstance(error, OSError) and error.errno in _DISK


def one_line(error: BaseException) -> str:
    """Return an error in one line, without its number; with the file, where it names one."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        file = error.filename2 or error.filename
        text = f"{error.strerror}: {file}" if file else error.strerror
    return " ".join(text.split()) or type(error).__name__
