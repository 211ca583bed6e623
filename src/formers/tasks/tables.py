"""Tables as people have them: CSV and TSV, spreadsheets' exports among them, and JSON, as lists or lines of rows."""

from __future__ import annotations

import csv
import io
import json
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from formers.tasks.decoding import text_of

TABLES = (".csv", ".tsv", ".json", ".jsonl")
"""Endings of the files that `read_table` reads."""
_DELIMITERS = ",;\t"
_LONGEST_CELL = 1 << 27  # characters; the csv module's own limit is 131,072, less than a long document has


class _Unquoted(csv.Dialect):
    """Tabs between columns; quotes are characters like any other."""

    delimiter, lineterminator, quoting = "\t", "\n", csv.QUOTE_NONE


class TableRow(NamedTuple):
    """A row of a table: the place it comes from (file and line), and its values by column."""

    origin: str
    values: dict[str, str]

    def column(self, names: Sequence[str]) -> str:
        """Return the value of the first of these columns that the row has. Raise ValueError if it has none."""
        by_name = {name.lower(): value for name, value in self.values.items()}
        for name in names:
            if name in by_name:
                return by_name[name]
        raise ValueError(f"{self.origin}: no column {' or '.join(names)}; it has {', '.join(self.values)}")


def read_table(place: Path, names: Sequence[str] | None = None) -> list[TableRow]:
    """Return the rows of a .csv, .tsv, .json or .jsonl file; `names` are its columns if it has no header.

    CSV has quotes, and commas, semicolons or tabs between columns, as its header has (`sep=;` before it is understood);
    TSV has no quotes, as GLUE's. Empty rows, and columns without a name and content, are left out.

    Raises:
        ValueError: for what cannot be read, with file and line.
    """
    text = text_of(_as_utf8(place.read_bytes()), place)
    if place.suffix.lower() == ".json":
        return _json_rows(text, place)
    if place.suffix.lower() == ".jsonl":
        return [*_json_lines(text, place)]
    table = [(line, row) for line, row in _lines(text, place) if any(cell.strip() for cell in row)]
    header = [name.strip() for name in (table.pop(0)[1] if names is None and table else names or ())]
    if twice := {name for name in header if name and header.count(name) > 1}:
        raise ValueError(f"{place}: column {twice.pop()!r} stands twice in the header {header}")
    return [_row(header, row, f"{place}, line {line}") for line, row in table]


def _as_utf8(data: bytes) -> bytes:
    """Return UTF-16 with its mark, which spreadsheets export as "Unicode text", as UTF-8; other bytes as they are."""
    try:
        return data.decode("utf-16").encode() if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else data
    except UnicodeDecodeError:
        return data


def _lines(text: str, place: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each row's first line, and its cells. Raise ValueError for broken quotes and the like."""
    first, _, rest = text.partition("\n")
    line = 1
    if first.strip().lower().startswith("sep=") and len(first.strip()) == 5:  # a hint that Excel writes and reads
        delimiter, text, line = first.strip()[4], rest, 2
    else:
        delimiter = max(_DELIMITERS, key=first.count)
    limit = csv.field_size_limit(_LONGEST_CELL)
    try:
        stream = io.StringIO(text, newline="")
        quoted = place.suffix.lower() == ".csv"
        reader = csv.reader(stream, delimiter=delimiter, strict=True) if quoted else csv.reader(stream, _Unquoted)
        start = line
        for row in reader:
            yield start, row
            start = line + reader.line_num
    except csv.Error as error:
        raise ValueError(f"{place}, line {start}: {error}; quotes within a quoted cell are doubled") from None
    finally:
        csv.field_size_limit(limit)


def _row(header: Sequence[str], row: Sequence[str], origin: str) -> TableRow:
    """Return a row by its columns. Raise ValueError if it has more or fewer cells than the header."""
    while len(row) > len(header) and not row[-1].strip():
        row = row[:-1]
    if len(row) != len(header):
        raise ValueError(f"{origin}: {len(row)} columns, but {len(header)} were expected ({list(header)})")
    if nameless := next((cell for name, cell in zip(header, row, strict=True) if not name and cell.strip()), None):
        raise ValueError(f"{origin}: {nameless[:40]!r} stands in a column without a name; name it in the header")
    return TableRow(origin, {name: cell for name, cell in zip(header, row, strict=True) if name})


def _json_rows(text: str, place: Path) -> list[TableRow]:
    """Return the rows of a JSON file: a list of mappings, or a mapping of numbers to them."""
    try:
        data = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{place} is not JSON that can be read: {str(error)[:200]}") from None
    found = [*data.values()] if isinstance(data, dict) else data
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise ValueError(f"{place} must hold a list of mappings of column names to values")
    return [_json_row(row, f"{place}, row {number}") for number, row in enumerate(found, 1)]


def _json_lines(text: str, place: Path) -> Iterator[TableRow]:
    """Yield the rows of a file with a JSON mapping on each line; empty lines are left out."""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        origin = f"{place}, line {number}"
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"{origin} is not JSON that can be read: {str(error)[:200]}") from None
        if not isinstance(row, dict):
            raise ValueError(f'{origin} must hold a mapping of column names to values, as {{"text": …}}')
        yield _json_row(row, origin)


def _json_row(row: dict[str, object], origin: str) -> TableRow:
    if wrong := next((name for name, value in row.items() if isinstance(value, (dict, list))), None):
        raise ValueError(f"{origin}: {wrong!r} must be a text or a number")
    values = {name: "" if value is None else str(value) for name, value in row.items()}
    try:
        "".join([*values, *values.values()]).encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(error.object[error.start]):04x}"
        raise ValueError(f"{origin} holds {half}, half of a character, which no text can hold; remove it") from None
    return TableRow(origin, values)
