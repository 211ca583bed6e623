"""One process in a study's folder at a time."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from formers.lab.store.write_error import WriteError, one_line, reporting_write_errors
from formers.machine.files import overwrite

_FILE = ".lock"


class FolderInUse(OSError):
    """Another process works in the same folder."""


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold the folder's lock while the block runs. The folder is made if there is none.

    The operating system keeps the lock and releases it when the process ends, however it ends; the file alone means
    nothing. Of several processes that work together on one study (workers, ranks), one holds it for all.

    Raises:
        FolderInUse: where another process holds it, with the number of that process.
        NotADirectoryError: where a file is in the place of the folder.
        WriteError: where the lock's file cannot be made.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file, but the folder of a study is needed; choose one with --folder")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _FILE
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise FolderInUse(
            f"{folder} is in use by {_holder(path)}; wait for it, or choose another folder with --folder"
        ) from None
    except OSError as error:
        raise WriteError(f"cannot keep a lock in {folder}: {one_line(error)}") from error
    try:
        with reporting_write_errors("a lock", folder):
            overwrite(path, f"process {os.getpid()} on {platform.node()}".ljust(path.stat().st_size))
        yield
    finally:
        lock.release()


def is_in_use(folder: Path) -> bool:
    """Return whether a process holds the lock of a folder."""
    lock = FileLock(folder / _FILE, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return True
    lock.release()
    return False


def _holder(path: Path) -> str:
    """Return the process that holds the lock, as it wrote itself down."""
    try:
        return path.read_text(encoding="utf-8").strip() or "another process"
    except OSError:  # Windows does not let others read a locked file
        return "another process"
