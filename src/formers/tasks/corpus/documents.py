"""Documents of a corpus: from a text file, a table, a folder or zip file of them, or a data set of the hub."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from formers.tasks.corpus.hub_documents import hub_documents
from formers.tasks.decoding import text_of
from formers.tasks.splits import Side
from formers.tasks.tables import TABLES, read_table
from formers.tasks.text_files import is_litter, text_files

HUB = "hub:"
"""What a path begins with that names a data set of the hub."""
_HUB_MEGABYTES = 64.0
"""What is read of a data set of the hub unless told otherwise: they may be of any size."""
_TEXTS = (".txt", ".text", ".md", ".rst")
_SIDE_OF: dict[str, Side] = {"train": "train", "training": "train", "test": "test", "valid": "validation"}
_SIDE_OF |= {"dev": "validation", "val": "validation", "validation": "validation"}


class Document(NamedTuple):
    """A text, and the split in which it was published, if it was in one."""

    text: str
    side: Side | None = None


def read_documents(path: str, column: str, megabytes: float | None) -> list[Document]:
    """Return the documents of a corpus, in the order of their names, without empty ones.

    Args:
        path: a text file; a .csv, .tsv, .json or .jsonl file, of which each row is a document; a folder of these; a zip
            file of .txt files; or `hub:owner/name`, or `hub:owner/name/subset`.
        column: where the text is in tables and data sets of the hub.
        megabytes: read so much UTF-8 text at most, from the beginning, and of a data set of the hub from the beginning
            of each split; None: all, and of a data set of the hub the first 64.

    Raises:
        FileNotFoundError: where there is no such file or folder.
        ValueError: for a file that is no UTF-8 text or table, with its name and the line, a folder without texts, and
            a corpus of nothing but empty documents.
        ImportError: for a data set of the hub without the library `datasets`.
    """
    if path.startswith(HUB):
        most_of_hub = round((_HUB_MEGABYTES if megabytes is None else megabytes) * 1e6)
        found = [Document(text, side) for side, text in hub_documents(path.removeprefix(HUB), column, most_of_hub)]
    else:
        place = Path(path).expanduser()
        if not place.exists():
            raise FileNotFoundError(
                f"no text at {place}; give the path of a UTF-8 text file, of a table, or of a folder of them, or "
                "'hub:owner/name' for a data set of the hub"
            )
        most = None if megabytes is None else round(megabytes * 1e6)
        found = [*_up_to(_documents_at(place, column), most)]
    kept = [document for document in found if document.text.strip()]
    if not kept:
        raise ValueError(f"{path} holds no text: its {len(found)} documents are empty; give another corpus")
    return kept


def _up_to(documents: Iterator[Document], most: int | None) -> Iterator[Document]:
    """Yield documents until they have so many bytes; the last is cut."""
    room = most
    for document in documents:
        if room is None:
            yield document
            continue
        data = document.text.encode()
        yield document if len(data) <= room else document._replace(text=data[:room].decode(errors="ignore"))
        room -= len(data)
        if room <= 0:
            return


def _documents_at(place: Path, column: str) -> Iterator[Document]:
    if place.is_dir():
        yield from _in_folder(place, column)
    elif place.suffix.lower() == ".zip":
        for name, data in text_files(place):
            yield Document(text_of(data, f"{place}, {name}"), _side_of(name))
    else:
        yield from _in_file(place, column)


def _in_folder(place: Path, column: str) -> Iterator[Document]:
    files = sorted(file for file in place.rglob("*") if file.is_file() and not is_litter(file.relative_to(place)))
    known = [file for file in files if file.suffix.lower() in (*_TEXTS, *TABLES)]
    if not known:
        kinds = Counter(file.suffix.lower() or "no ending" for file in files)
        there = ", ".join(f"{count} with {kind}" for kind, count in kinds.most_common(3)) or "nothing"
        raise ValueError(
            f"{place} holds no texts: files with {', '.join((*_TEXTS, *TABLES))} are read, and there is {there}"
        )
    for file in known:
        side = _side_of(PurePosixPath(file.relative_to(place).as_posix()))
        if file.stat().st_size:
            yield from (document._replace(side=side) for document in _in_file(file, column))


def _in_file(file: Path, column: str) -> Iterator[Document]:
    if file.suffix.lower() in TABLES:
        yield from (Document(row.column((column.lower(),))) for row in read_table(file))
    else:
        yield Document(text_of(file.read_bytes(), file))


def _side_of(name: PurePosixPath) -> Side | None:
    """Return the split that a file's name or a folder above it names, as `wiki.train.txt` and `test/a.txt` do."""
    words = [word for part in name.parts for word in re.split(r"[\W_]+", part.lower())]
    return next((_SIDE_OF[word] for word in words if word in _SIDE_OF), None)
