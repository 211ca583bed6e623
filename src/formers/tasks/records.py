"""Labelled texts: from tables, from folders of labels, and from zip files of such."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from formers.tasks.decoding import text_of
from formers.tasks.splits import Side
from formers.tasks.tables import read_table
from formers.tasks.text_files import text_files

_TABLES = (".csv", ".tsv")
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


def labelled(place: Path) -> list[Record]:
    """Return the labelled texts of a table (`text,label` in CSV or TSV), of a folder `label/*.txt`, or of a zip of one.

    Labels may lie deeper, as in `movie_reviews/pos/*.txt`, and under folders of splits, as in
    `aclImdb/train/pos/*.txt`. Text files beside them are left out. Labels that are equal numbers (`1`, `1.0`) are one
    label.

    Raises:
        ValueError: for anything else; for empty or binary files, empty texts or labels, with file and line; and if
            there are not two labels or more.
    """
    found = _from_table(place) if place.suffix.lower() in _TABLES else [*_from_files(place)]
    return _checked(_with_equal_numbers(found), place)


def _from_table(place: Path) -> list[Record]:
    records = []
    for row in read_table(place):
        text, label = row.column(_TEXTS), row.column(_LABELS).strip()
        if not text.strip() or not label:
            raise ValueError(
                f"{row.origin}: empty {'label' if text.strip() else 'text'}; fill it in, or remove the row"
            )
        records.append(Record((text,), label))
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
