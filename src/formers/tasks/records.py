"""Reading labelled texts: tables, folders of labels, and zip files of either."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from zipfile import BadZipFile, ZipFile

_TABLES = (".csv", ".tsv")
TEXTS, LABELS = ("text", "review", "sentence"), ("label", "sentiment")
"Names that the column of texts, and that of labels, may have."


class _Unquoted(csv.Dialect):
    """Tabs between columns; quotes are characters like any other."""

    delimiter, lineterminator, quoting = "\t", "\n", csv.QUOTE_NONE


@dataclass(frozen=True)
class Record:
    """A text, or a pair of them, and its label."""

    texts: tuple[str, ...]
    label: str

    @property
    def content(self) -> str:
        """Return the text that decides the split and enters the data's checksum."""
        return "\n".join(self.texts)


def text_of(data: bytes, origin: object) -> str:
    """Return the text of some bytes. Raise `ValueError` naming their origin where they are empty or no UTF-8 text."""
    if not data.strip():
        raise ValueError(f"{origin} is empty; give a UTF-8 text")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{origin} is not a UTF-8 text (byte {error.start}: {error.reason})") from None
    if "\0" in text:
        raise ValueError(f"{origin} is binary (it holds zero bytes); give a UTF-8 text")
    return text


def rows(text: str, suffix: str, origin: object, names: Sequence[str] | None = None) -> list[dict[str, str]]:
    """Return the rows of a table by column: CSV with quotes, TSV without (as GLUE has it); `names` where it has no
    header.

    Raises:
        ValueError: for a row with more or fewer columns than the first, with its number.
    """
    dialect: type[csv.Dialect] = csv.excel if suffix == ".csv" else _Unquoted
    lines = csv.reader(io.StringIO(text, newline=""), dialect)
    table = [(lines.line_num, line) for line in lines if line]
    header = [name.strip() for name in (table.pop(0)[1] if names is None else names)]
    for number, line in table:
        if len(line) != len(header):
            raise ValueError(
                f"{origin}, line {number}: {len(line)} columns, but {len(header)} were expected ({header})"
            )
    return [dict(zip(header, line, strict=True)) for _, line in table]


def json_rows(text: str, origin: object) -> list[dict[str, str]]:
    """Return the rows of a JSON file: a list of mappings, or a mapping of numbers to them."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{origin} is not JSON: {error}") from None
    found = [*data.values()] if isinstance(data, dict) else data
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise ValueError(f"{origin} must hold a list of mappings of column names to values")
    return [{str(name): str(value) for name, value in row.items()} for row in found]


def column(row: dict[str, str], names: Sequence[str], origin: object) -> str:
    """Return the value of the first of these columns that a row has."""
    by_name = {name.lower(): value for name, value in row.items()}
    for name in names:
        if name in by_name:
            return by_name[name]
    raise ValueError(f"{origin} has no column {' or '.join(names)}; it has {', '.join(row)}")


def labelled(place: Path) -> list[Record]:
    """Return the labelled texts of a table (`text,label` in CSV or TSV), of a folder `label/*.txt`, or of a zip file of
    such.

    Labels may lie deeper, as in `movie_reviews/pos/*.txt`; what is not in a folder of a label is left out.

    Raises:
        ValueError: for anything else, for empty or binary files, and where there are not two labels or more.
    """
    if place.suffix.lower() in _TABLES:
        table = rows(text_of(place.read_bytes(), place), place.suffix.lower(), place)
        found = [Record((column(row, TEXTS, place),), column(row, LABELS, place).strip()) for row in table]
    else:
        found = [Record((text_of(data, f"{place}, {name}"),), name.parent.name) for name, data in _text_files(place)]
    return _checked(found, place)


def _text_files(place: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yield name and content of every `…/label/name.txt` in a folder or zip file, in the order of their names."""
    if place.is_dir():
        for file in sorted(place.rglob("*.txt")):
            name = PurePosixPath(file.relative_to(place).as_posix())
            if len(name.parts) > 1:
                yield name, file.read_bytes()
        return
    if place.suffix.lower() != ".zip":
        raise ValueError(f"{place} is neither a .csv, .tsv or .zip file nor a folder of label/*.txt")
    try:
        with ZipFile(place) as archive:
            for text in sorted(archive.namelist()):
                if text.endswith(".txt") and len(PurePosixPath(text).parts) > 1:
                    yield PurePosixPath(text), archive.read(text)
    except BadZipFile as error:
        raise ValueError(f"{place} is not a zip file: {error}") from None


def _checked(found: list[Record], place: Path) -> list[Record]:
    """Return the records. Raise ValueError if nothing can be learned from them."""
    labels = {record.label for record in found}
    if len(labels) < 2:
        raise ValueError(f"{place} holds {len(found)} texts with {len(labels)} different labels; 2 labels are needed")
    if len(labels) > max(2, len(found) // 2):
        raise ValueError(f"{place}: {len(labels)} different labels for {len(found)} texts; is that the label column?")
    if not all(record.content.strip() for record in found):
        raise ValueError(f"{place} holds an empty text; remove its row")
    return found
