"""Labelled texts as people really have them: the right reading, or an error that names file and line."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from pathlib import Path
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED, ZipFile

import pytest

from formers.tasks.records import Record, labelled
from formers.tasks.tables import read_table

GOOD, BAD = Record(("good",), "1"), Record(("bad",), "0")


def written(place: Path, data: bytes) -> Path:
    place.write_bytes(data)
    return place


@pytest.mark.parametrize(
    "data",
    [
        b"text,label\ngood,1\nbad,0\n",
        b"\xef\xbb\xbftext,label\r\ngood,1\r\nbad,0\r\n",
        b"text;label\ngood;1\nbad;0\n",
        b"sep=;\r\ntext;label\r\ngood;1\r\nbad;0\r\n",
        b"text\tlabel\ngood\t1\nbad\t0\n",
        "text\tlabel\r\ngood\t1\r\nbad\t0\r\n".encode("utf-16"),
        b"text,label,,\ngood,1,,\nbad,0,,\n,,,\n",
        b'id, Text ,LABEL\n1,"good", 1\n2,"bad",0 \n\n',
        b"label,text\n1.0,good\n0,bad\n",
    ],
    ids=["plain", "BOM", "semicolons", "sep=", "tabs", "UTF-16", "empty cells", "spaces", "numbers"],
)
def test_what_spreadsheets_export(tmp_path: Path, data: bytes) -> None:
    got = labelled(written(tmp_path / "a.csv", data))
    assert [(r.texts, float(r.label)) for r in got] == [(r.texts, float(r.label)) for r in (GOOD, BAD)]


def test_equal_numbers_are_one_label(tmp_path: Path) -> None:
    data = b"text,label\na,1\nb,0\nc,1.0\nd,0.0\ne,1\n"
    assert [record.label for record in labelled(written(tmp_path / "a.csv", data))] == ["1", "0", "1", "0", "1"]


def test_labels_that_are_no_numbers_stay_as_they_are(tmp_path: Path) -> None:
    data = b"text,label\na,1\nb,1.0\nc,pos\nd,1\ne,1.0\nf,pos\n"
    assert {record.label for record in labelled(written(tmp_path / "a.csv", data))} == {"1", "1.0", "pos"}


def test_a_cell_may_be_long_and_have_lines(tmp_path: Path) -> None:
    long = "word\n" * 40_000
    data = f'text,label\n"{long}",1\nbad,0\n'.encode()
    assert labelled(written(tmp_path / "a.csv", data))[0].texts == (long,)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"text,label\ngood,1\nbad,\n", r"a\.csv, line 3: empty label"),
        (b'text,label\n"two\nlines",1\n,0\n', r"a\.csv, line 4: empty text"),
        (b"text,label\ngood,1\nbad,0,x\n", r"a\.csv, line 3: 3 columns"),
        (b"text,label,\ngood,1,\nbad,0,x\n", r"a\.csv, line 3: 'x' stands in a column without a name"),
        (b"text,text,label\na,b,1\n", r"a\.csv: column 'text' stands twice"),
        (b'text,label\nb,0\n"good" bye,1\n', r"a\.csv, line 3: .*quotes within a quoted cell are doubled"),
        ("text,label\ngrün,1\nbad,0\n".encode("cp1252"), r"a\.csv is not a UTF-8 text .*save it as UTF-8"),
    ],
)
def test_errors_name_the_line(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        labelled(written(tmp_path / "a.csv", data))


def zipped(place: Path, *names: str) -> Path:
    with ZipFile(place, "w") as archive:
        for name in names:
            archive.writestr(name, f"text of {name}")
    return place


def unzipped(place: Path, *names: str) -> Path:
    for name in names:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(f"text of {name}")
    return place


@pytest.mark.parametrize("make", [zipped, unzipped])
def test_litter_is_left_out(tmp_path: Path, make) -> None:
    litter = (
        "__MACOSX/pos/._1.txt",
        "pos/.hidden.txt",
        ".Trash/a/b.txt",
        "README.txt",
        "pos/Thumbs.db",
        "pos/.DS_Store",
    )
    found = labelled(make(tmp_path / "a.zip", "pos/1.txt", "pos/2.TXT", "neg/1.txt", *litter))
    assert sorted((r.label, r.texts[0]) for r in found) == [
        ("neg", "text of neg/1.txt"),
        ("pos", "text of pos/1.txt"),
        ("pos", "text of pos/2.TXT"),
    ]


@pytest.mark.parametrize("make", [zipped, unzipped])
def test_splits_as_they_are_published(tmp_path: Path, make) -> None:
    names = [
        f"aclImdb/{side}/{label}/{i}.txt" for side in ("train", "test") for label in ("pos", "neg") for i in (1, 2)
    ]
    beside = ("aclImdb/train/unsup/1.txt", "aclImdb/train/urls_pos.txt", "aclImdb/README.txt")
    found = labelled(make(tmp_path / "imdb.zip", *names, *beside))
    assert {(r.side, r.label) for r in found} == {(s, c) for s in ("train", "test") for c in ("pos", "neg")}
    assert len(found) == len(names)


@pytest.mark.parametrize(
    ("names", "message"),
    [(("pos/1.doc", "neg/1.doc"), "holds no .txt file"), (("pos/1.txt",), r"1 different labels \(pos\)")],
)
def test_folders_that_will_not_do(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        labelled(unzipped(tmp_path / "texts", *names))


def test_damaged_and_encrypted_archives_name_the_file(tmp_path: Path) -> None:
    place = tmp_path / "a.zip"
    zipped(place, "pos/1.txt", "neg/1.txt")
    whole = place.read_bytes()
    flipped = whole.replace(b"text of neg/1.txt", b"text of neg/2.txt", 1)
    with pytest.raises(ValueError, match=r"neg/1\.txt cannot be unpacked: Bad CRC"):
        labelled(written(place, flipped))
    central = whole.rindex(b"PK\x01\x02")
    locked = bytearray(whole)
    locked[central + 8] |= 1  # the flag of an encrypted entry
    with pytest.raises(ValueError, match=r"without a password|cannot be unpacked"):
        labelled(written(place, bytes(locked)))


def test_json_rows_name_their_number(tmp_path: Path) -> None:
    place = written(tmp_path / "a.json", json.dumps([{"text": "a", "label": 1}, {"text": ["a"], "label": 0}]).encode())
    with pytest.raises(ValueError, match=r"a\.json, row 2: 'text' must be a text or a number"):
        read_table(place)
    with pytest.raises(ValueError, match="not JSON that can be read"):
        read_table(written(place, b"[" * 100_000))


@pytest.mark.parametrize("method", [ZIP_STORED, ZIP_DEFLATED, ZIP_BZIP2, ZIP_LZMA])
def test_flipped_bytes_are_told_or_harmless(tmp_path: Path, method: int) -> None:
    place, stream = tmp_path / "a.zip", random.Random(method)
    with ZipFile(place, "w", method) as archive:
        for label in ("pos", "neg"):
            for i in range(3):
                archive.writestr(f"{label}/{i}.txt", f"text {label} {i} " * 20)
    whole = place.read_bytes()
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(stream.choice((1, 1, 2, 8))):
            data[stream.randrange(len(data))] = stream.randrange(256)
        place.write_bytes(data[: stream.randrange(len(data))] if stream.random() < 0.1 else data)
        with suppress(ValueError):  # any other error is a fault
            labelled(place)


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_halves_of_characters_are_named_with_their_place(tmp_path: Path, name: str) -> None:
    """JSON can write them, as in texts cut in the middle of an emoji; nothing else can."""
    rows = ['{"text": "whole \\ud83d\\ude00", "label": 1}', '{"text": "half \\ud83d", "label": 0}']
    (tmp_path / name).write_text(f"[{', '.join(rows)}]" if name == "a.json" else "\n".join(rows))
    with pytest.raises(ValueError, match=r"(line|row) 2 holds \\ud83d, half of a character"):
        labelled(tmp_path / name)
