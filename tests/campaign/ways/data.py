"""Data sets: sound ones in every layout and with every character, which must be read as they are, and damaged ones."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path
from random import Random
from typing import Any

from campaign import mutate
from campaign.verdict import Nonsense, Unclear, must_equal
from campaign.ways.way import way
from formers.tasks import parse
from formers.tasks.characters import Characters
from formers.tasks.records import labelled
from formers.tasks.tables import read_table
from formers.tasks.text_files import text_files
from formers.tasks.vocabulary import Words

_LAYOUTS = ("csv", "tsv", "json", "zip", "folder")
_PIECES = (
    "good",
    "dull",
    ",",
    ";",
    '"',
    "'",
    "\u2028",
    "\x85",
    "\x1c",
    "é",
    "🦙",
    "#",
    "=1+1",
    "|",
    "\\",
    "[PAD]",
    "0",
)
_LITTER = ("__MACOSX/._a.txt", ".DS_Store", "README.txt", "pos/Thumbs.db", "train/", "neg/.hidden.txt")

Rows = list[tuple[str, str]]


def _rows(rng: Random, layout: str) -> Rows:
    """Return texts and labels that a layout can hold."""
    breaks = ("\n", "\t", "\r\n") if layout in ("csv", "json") else ()
    labels = rng.choice((("pos", "neg"), ("0", "1"), ("a b", "ü"), ("1", "2", "10")))

    def text() -> str:
        words = rng.choices(_PIECES + breaks, k=rng.randrange(1, 6))
        return f"film {' '.join(words)}{rng.randrange(10**6)}"

    return [(text(), labels[i % len(labels)]) for i in range(rng.choice((6, 20, 60)))]


def _written(rng: Random, layout: str, rows: Rows) -> dict[str, bytes]:
    """Return file name → content of a data set."""
    if layout in ("csv", "tsv"):
        stream = io.StringIO()
        delimiter = rng.choice(",;\t") if layout == "csv" else "\t"
        ways = {"quoting": csv.QUOTE_NONE, "quotechar": None} if layout == "tsv" else {}
        writer = csv.writer(stream, delimiter=delimiter, lineterminator=rng.choice(("\n", "\r\n")), **ways)
        table = [("text", "label"), *rows]
        writer.writerows(table if rng.random() < 0.5 else [row[::-1] for row in table])
        mark = "\ufeff" * (rng.random() < 0.3)
        return {f"data.{layout}": (mark + stream.getvalue()).encode()}
    if layout == "json":
        listed = [{"sentence": text, "label": label} for text, label in rows]
        data: Any = listed if rng.random() < 0.5 else {str(i): row for i, row in enumerate(listed)}
        return {"data.json": json.dumps(data, ensure_ascii=rng.random() < 0.5).encode()}
    files = {f"{label}/{i:03}.txt": text.encode() for i, (text, label) in enumerate(rows)}
    files |= {name: b"litter \x00\xff" for name in _LITTER if rng.random() < 0.3}
    if layout == "folder":
        return {f"data/{name}": content for name, content in files.items() if not name.endswith("/")}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))) as out:
        for name, content in files.items():
            out.writestr(name, content)
    return {"data.zip": packed.getvalue()}


def _sound(rng: Random) -> tuple[str, Rows, dict[str, bytes]]:
    layout = rng.choice(_LAYOUTS)
    rows = _rows(rng, layout)
    return layout, rows, _written(rng, layout, rows)


def _put(files: dict[str, bytes], folder: Path) -> Path:
    """Write a data set, and return where it is."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder / next(iter(files)).partition("/")[0]


@way("sound data", 40, _sound)
def enter_sound(case: tuple[str, Rows, dict[str, bytes]], folder: Path) -> None:
    """What is sound is taken, and is what was written."""
    layout, rows, files = case
    place = _put(files, folder)
    if layout == "json":
        read = [(row.column(("sentence",)), row.column(("label",))) for row in read_table(place)]
    else:
        read = [(record.texts[0], record.label) for record in labelled(place)]
    must_equal(f"a {layout} data set", sorted(read), sorted(rows))


def _damaged(rng: Random) -> tuple[str, dict[str, bytes]]:
    layout, _, files = _sound(rng)
    hurt = rng.choice([*files])
    files[hurt] = mutate.some_bytes(rng, files[hurt])
    return layout, files


@way("damaged data", 100, _damaged)
def enter_damaged(case: tuple[str, dict[str, bytes]], folder: Path) -> None:
    """What is damaged is refused by name, or read as texts that have a label each."""
    layout, files = case
    place = _put(files, folder)
    try:
        if layout == "json":
            assert read_table(place) is not None
            return
        records = labelled(place)
    except (ValueError, OSError) as error:
        if place.name not in str(error):
            raise Unclear(f"the file is not named: {error}") from error
        raise
    if any(not record.label.strip() or not all(text.strip() for text in record.texts) for record in records):
        raise Nonsense("a text or a label is empty")
    task = parse(f"reviews(length=8, vocab=64, path={str(place)!r})")
    assert task.data.classes == tuple(sorted({record.label for record in records}))
    assert task.build(0, 1)[0]["input_ids"].shape == (8,)


def _plain_text(rng: Random) -> bytes:
    text = "".join(rng.choices((*"abc def\n.", *_PIECES, "\r\n", "\u0301"), k=rng.choice((0, 1, 30, 400))))
    data = text.encode()
    return mutate.some_bytes(rng, data) if rng.random() < 0.6 else data


@way("texts to model", 40, _plain_text)
def enter_text(data: bytes, folder: Path) -> None:
    """A text that is taken has the splits' characters in order, and its alphabet reads back."""
    (folder / "book.txt").write_bytes(data)
    try:
        task = parse(f"shakespeare(length=4, path={str(folder / 'book.txt')!r})")
        config, example = task.base(), task.build(0, 1)[0]
    except (ValueError, OSError) as error:
        if "book.txt" not in str(error):
            raise Unclear(f"the file is not named: {error}") from error
        raise
    task.save(folder)
    characters = Characters.load(folder)
    must_equal("the size of its alphabet", len(characters), config.vocab_size)
    if characters.decode(example["input_ids"]) not in data.decode("utf-8-sig"):
        raise Nonsense("an example is not in the text")


def _vocabulary(rng: Random) -> bytes:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *_PIECES[:10], "film", "##s", "##x"]
    if rng.random() < 0.4:
        rng.shuffle(pieces)
    data = rng.choice(("\n", "\r\n")).join(pieces).encode() + b"\n" * rng.randrange(3)
    return mutate.some_bytes(rng, data) if rng.random() < 0.6 else data


@way("vocabularies", 30, _vocabulary)
def enter_vocabulary(data: bytes, folder: Path) -> None:
    """Pieces have the numbers of their lines."""
    (folder / "vocab.txt").write_bytes(data)
    words = Words.load(folder / "vocab.txt")
    lines = [line.removesuffix(b"\r").decode("utf-8-sig") for line in data.split(b"\n")]
    must_equal("vocab.txt", list(words.pieces), lines[: len(words.pieces)])
    if set(words.encode(("film 0 é quux",))) - set(range(len(words))):
        raise Nonsense("a number without a piece")
    words.save(folder)
    must_equal("vocab.txt", Words.load(folder / "vocab.txt"), words)


def _alphabet(rng: Random) -> tuple[bytes, str]:
    data = mutate.as_json(mutate.a_tree(rng, {"alphabet": "abc\nü"}))
    data = mutate.a_text(rng, data) if rng.random() < 0.3 else data
    return data.encode("utf-8", "surrogatepass"), rng.choice(("ab", "x", "", mutate.a_text(rng, "abc")))


@way("alphabets", 20, _alphabet)
def enter_alphabet(case: tuple[bytes, str], folder: Path) -> None:
    (folder / "characters.json").write_bytes(case[0])
    characters = Characters.load(folder)
    must_equal("a text", characters.decode(characters.encode(case[1])), case[1])


def _archive(rng: Random) -> bytes:
    rows = _rows(rng, "zip")
    return mutate.some_bytes(rng, _written(rng, "zip", rows)["data.zip"])


@way("archives", 20, _archive)
def enter_archive(data: bytes, folder: Path) -> None:
    (folder / "data.zip").write_bytes(data)
    for name, _ in text_files(folder / "data.zip"):
        assert name.suffix.lower() == ".txt"
