"""Text files in folders and zip files, without the litter that operating systems leave beside them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path, PurePath, PurePosixPath
from zipfile import BadZipFile, ZipFile

from formers.part import shortened
from formers.tasks.tables import TABLES

try:
    from lzma import LZMAError
except ImportError:  # Python was built without it, and then zipfile refuses such data itself
    LZMAError = EOFError  # type: ignore[misc,assignment]

_DAMAGED = (BadZipFile, zlib.error, LZMAError, OSError, EOFError, NotImplementedError, ValueError, IndexError)
"""Errors of the decompressors for data that is not what it says."""
_SHOWN = 200  # characters of an unpacker's error, which may quote what it found
_LITTER = ("__macosx", "thumbs.db", "desktop.ini")


def text_files(place: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yield name and content of every .txt file within a folder or a zip file, in the order of their names.

    Hidden files and what archivers add (`.DS_Store`, `__MACOSX/._name.txt`) are left out.

    Raises:
        ValueError: for a file that is neither, for a damaged or encrypted zip file, and if there is no .txt file.
    """
    found = _in_folder(place) if place.is_dir() else _in_zip(place)
    first = next(found, None)
    if first is None:
        raise ValueError(f"{place} holds no .txt file; texts are expected as label/name.txt")
    yield first
    yield from found


def _in_folder(place: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    files = {PurePosixPath(file.relative_to(place).as_posix()): file for file in place.rglob("*") if file.is_file()}
    for name in sorted(filter(_wanted, files)):
        yield name, files[name].read_bytes()


def _in_zip(place: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    if place.suffix.lower() != ".zip":
        raise ValueError(f"{place} is neither a {', '.join(TABLES)} or .zip file nor a folder of label/*.txt")
    try:
        with ZipFile(place) as archive:
            for text in sorted(name for name in archive.namelist() if _wanted(PurePosixPath(name))):
                try:
                    data = archive.read(text)
                except RuntimeError as error:  # zipfile's own for a password
                    raise ValueError(f"{place}, {text}: {error}; give a zip file without a password") from None
                except _DAMAGED as error:
                    raise ValueError(f"{place}, {text} cannot be unpacked: {shortened(str(error), _SHOWN)}") from None
                yield PurePosixPath(text), data
    except (BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
        raise ValueError(f"{place} is not a zip file that can be read: {shortened(str(error), _SHOWN)}") from None


def is_litter(name: PurePath) -> bool:
    """Return whether a file, or a folder above it, is hidden, or one that operating systems leave behind."""
    return any(part.startswith(".") or part.lower() in _LITTER for part in name.parts)


def _wanted(name: PurePosixPath) -> bool:
    return name.suffix.lower() == ".txt" and not is_litter(name)
