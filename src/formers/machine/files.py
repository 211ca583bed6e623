"""Files that are whole or not there, and that are on the disk."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)  # Windows has none


def write_atomically(path: Path, text: str, flush: bool = False) -> Path:
    """Write `text` beside `path`, then move it there, and return `path`: a reader never sees half a file.

    Parents are created. A symbolic link in the place of the file is replaced, and what it points to left alone. What
    processes that were killed in the middle have left beside the file goes away. With `flush`, the text is on the disk
    before it is moved. Raise OSError where the file cannot be written; what was there before is untouched then.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned_parts(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    remove(part)
    try:
        with part.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
        if flush:
            flush_to_disk(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def overwrite(path: Path, text: str) -> None:
    """Write `text` over the start of a file. Raise OSError for a symbolic link: what it points to is not touched."""

    def opened(name: str, flags: int) -> int:
        return os.open(name, flags | _NO_FOLLOW)

    with open(path, "r+", encoding="utf-8", newline="\n", opener=opened) as file:
        file.write(text)


def remove(path: Path) -> None:
    """Remove a file, a folder with all that is in it, or a symbolic link but not what it points to; if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def flush_to_disk(path: Path) -> None:
    """Return once the content of a file, or the names in a folder, are on the disk (`fsync`)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_abandoned_parts(path: Path) -> None:
    """Remove the parts of a file whose processes have ended, as a killed one leaves it."""
    start, end = f".{path.name}.", ".part"
    for part in path.parent.iterdir():
        if part.name.startswith(start) and part.name.endswith(end):
            number = part.name.removeprefix(start).removesuffix(end)
            if number.isdecimal() and not _is_running(int(number)):
                with suppress(OSError):  # somebody else has removed it
                    part.unlink()


def _is_running(process: int) -> bool:
    """Return whether a process of this number runs, or may run: Windows is not asked, where the question kills."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
