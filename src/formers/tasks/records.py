"""Labelled texts: from tables, from folders of labels, and from zip files of such."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath, PurePosixPath
from typing import NamedTuple

from formers.tasks.decoding import text_of
from formers.tasks.splits import Side, side_of
from formers.tasks.tables import TABLES, read_table
from formers.tasks.text_files import is_litter, text_files

_TEXTS, _LABELS = ("text", "review", "sentence"), ("label", "sentiment")  # names that these columns may have
_SIDES: dict[str, Side] = {"train": "train", "test": "test", "dev": "validation", "val": "validation"}
_SIDES |= {"valid": "validation", "validation": "validation"}
_UNLABELLED = ("unsup",)  # a folder of the IMDb reviews, as they are published, whose texts have no label


@dataclass(frozen=True)
class Record:
    """A text, or a pair of them, its label, and the split in which it was published, if it was in one."""

    texts: tuple[str, ...]
    label: str
    side: Side | None = None

    @property
    def content(self) -> str:
        """Return the text that decides the split and enters the data's checksum."""
        return "\n".join(self.texts)


class LabelledColumns(NamedTuple):
    """The columns of the text, or of the two texts of a pair, and of the label: names that each may have in a table."""

    texts: tuple[tuple[str, ...], ...] = (_TEXTS,)
    label: tuple[str, ...] = _LABELS


def labelled(place: Path, columns: LabelledColumns = LabelledColumns()) -> list[Record]:  # noqa: B008
    """Return the labelled texts of a table (`text,label`), of a folder `label/*.txt`, or of a zip of one.

    Tables are CSV, TSV, JSON or JSON lines; those in a folder are read together, and their names say the split, as in
    `train.csv` and `test.csv`. Labels may lie deeper, as in `movie_reviews/pos/*.txt`, and under folders of splits, as
    in `aclImdb/train/pos/*.txt`. Text files beside them are left out. Labels that are equal numbers (`1`, `1.0`) are
    one label.

    Raises:
        ValueError: for anything else; for empty or binary files, empty texts or labels, with file and line; and if
            there are not two labels or more.
    """
    if place.suffix.lower() in TABLES and not place.is_dir():
        found = _from_table(place, columns)
    elif tables := _tables_in(place):
        found = [record for table in tables for record in _from_table(table, columns, _side_of_table(table, tables))]
    else:
        found = [*_from_files(place)]
    return _checked(_with_equal_numbers(found), place)


def _tables_in(place: Path) -> list[Path]:
    """Return the tables in a folder that has no texts in folders of labels."""
    files = sorted(place.iterdir()) if place.is_dir() and not any(place.glob("*/**/*.txt")) else []
    return [file for file in files if file.suffix.lower() in TABLES and not is_litter(PurePath(file.name))]


def _side_of_table(table: Path, tables: Sequence[Path]) -> Side | None:
    """Return the split that a table's name says. Raise ValueError where one of several says none."""
    words = re.split(r"[\W_]+", table.stem.lower())
    side = next((_SIDES[word] for word in words if word in _SIDES), None)
    if side is None and len(tables) > 1:
        names = ", ".join(file.name for file in tables)
        raise ValueError(
            f"{table}: of several tables in a folder each is a split, and its name must say which "
            f"({', '.join(_SIDES)}); there are {names}"
        )
    return side


def _from_table(place: Path, columns: LabelledColumns, side: Side | None = None) -> list[Record]:
    records = []
    for row in read_table(place):
        texts, label = tuple(row.column(names) for names in columns.texts), row.column(columns.label).strip()
        whole = all(text.strip() for text in texts)
        if not whole or not label:
            raise ValueError(f"{row.origin}: empty {'label' if whole else 'text'}; fill it in, or remove the row")
        records.append(Record(texts, label, side))
    return records


def _from_files(place: Path) -> Iterator[Record]:
    """Yield a record for each `…/label/name.txt`; files in no folder of a label are left out."""
    files = [*text_files(place)]
    above_labels = {folder for name, _ in files for folder in name.parent.parents}  # where a README.txt may lie
    for name, data in files:
        label = name.parent.name
        if name.parent not in above_labels and label not in _UNLABELLED and label.lower() not in _SIDES:
            yield Record((text_of(data, f"{place}, {name}"),), label, _side_of(name))


def _side_of(name: PurePosixPath) -> Side | None:
    """Return the split that a folder above the label's names."""
    return next((_SIDES[part.lower()] for part in name.parts[:-2] if part.lower() in _SIDES), None)


def _with_equal_numbers(found: Sequence[Record]) -> list[Record]:
    """Return the records with equal numbers as one label, `1` for `1.0`, if every label is a number."""
    numbers = {record.label: _number(record.label) for record in found}
    if None in numbers.values():
        return list(found)
    spelt: dict[float | None, str] = {}
    for label in sorted(numbers, key=lambda label: (len(label), label)):  # the shortest spelling
        spelt.setdefault(numbers[label], label)
    return [replace(record, label=spelt[numbers[record.label]]) for record in found]


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _checked(found: list[Record], place: Path) -> list[Record]:
    """Return the records. Raise ValueError if nothing can be learned from them."""
    labels = sorted({record.label for record in found})
    if len(labels) < 2:
        raise ValueError(
            f"{place} holds {len(found)} texts with {len(labels)} different "
            f"labels{f' ({labels[0]})' if labels else ''}; 2 labels are needed"
        )
    if len(labels) > max(2, len(found) // 2):
        raise ValueError(f"{place}: {len(labels)} different labels for {len(found)} texts; is that the label column?")
    return found


def split_records(records: Sequence[Record], place: object, share: int = 10) -> dict[Side, list[Record]]:
    """Return the records of each split: published ones, of whose training texts one in `share` validates, too; without
    any, by a checksum of its text one in `share` validates, and another tests.

    Raise ValueError where splits are published without a test split.
    """
    sides: dict[Side, list[Record]] = {"train": [], "validation": [], "test": []}
    for record in records:
        side = side_of(record.content, share)
        if record.side is not None:
            side = "validation" if record.side == "train" and side == "validation" else record.side
        sides[side].append(record)
    if not sides["test"] and any(record.side for record in records):
        raise ValueError(f"{place} holds splits, but no test split; add a folder test, or leave the splits out")
    return sides
