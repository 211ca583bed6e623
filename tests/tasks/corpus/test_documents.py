"""Documents of corpora: every layout gives the same ones, and what cannot be read is named."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from zipfile import ZipFile

import pytest

from formers.tasks.corpus.document_splits import split_documents
from formers.tasks.corpus.documents import Document, read_documents

TEXTS = ["The first text.\nTwo lines, and ünusual letters.", "The second text."]


def read(path: Path | str, column: str = "text", megabytes: float | None = None) -> list[str]:
    return [document.text for document in read_documents(str(path), column, megabytes)]


def folder(place: Path, **files: str) -> Path:
    for name, text in files.items():
        file = place / name.replace("__", "/").replace("_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return place


def test_every_layout_gives_the_same_documents(tmp_path: Path) -> None:
    rows = [{"text": text, "number": 1} for text in TEXTS]
    folder(tmp_path / "folder", a_txt=TEXTS[0], deeper__b_md=TEXTS[1], empty_txt="", c_pdf="no text")
    (tmp_path / "folder" / ".hidden.txt").write_text("hidden")
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    (tmp_path / "a.json").write_text(json.dumps(rows))
    (tmp_path / "a.csv").write_text('Text,number\n"' + '",1\n"'.join(TEXTS) + '",1\n')
    with ZipFile(tmp_path / "a.zip", "w") as archive:
        for i, text in enumerate(TEXTS):
            archive.writestr(f"texts/{i}.txt", text)
    for name in ("folder", "a.jsonl", "a.json", "a.csv", "a.zip"):
        assert read(tmp_path / name) == TEXTS, name
    assert read(tmp_path / "folder" / "a.txt") == TEXTS[:1]


def test_no_more_is_read_than_asked_for(tmp_path: Path) -> None:
    folder(tmp_path, a_txt="ä" * 600, b_txt="b" * 600, c_txt="c" * 600)
    assert read(tmp_path, megabytes=0.0015) == ["ä" * 600, "b" * 300]
    assert read(tmp_path / "a.txt", megabytes=0.000_301) == ["ä" * 150]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.txt", b"", r"a\.txt is empty"),
        ("a.txt", b"one\ntwo\nthr\xffee", r"a\.txt is not a UTF-8 text \(line 3, byte 11"),
        ("a.txt", b"a\0b", "is binary"),
        ("a.csv", b"title,label\nx,1\n", r"a\.csv, line 2: no column text; it has title, label"),
        ("a.jsonl", b'{"text": "x"}\n\n{"text": }\n', r"a\.jsonl, line 3 is not JSON"),
        ("a.jsonl", b'{"text": "x"}\n["x"]\n', r"a\.jsonl, line 2 must hold a mapping"),
        ("a.jsonl", b'{"text": ["x"]}\n', r"a\.jsonl, line 1: 'text' must be a text"),
        ("a.jsonl", b'{"text": " "}\n{"text": null}\n', "its 2 documents are empty"),
        ("a.zip", b"no zip", "not a zip file"),
    ],
)
def test_files_that_will_not_do(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=message):
        read(tmp_path / name)


def test_folders_that_will_not_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no texts: .*there is nothing"):
        read(tmp_path)
    folder(tmp_path, a_pdf="x", b_pdf="x", c_docx="x")
    with pytest.raises(ValueError, match=r"there is 2 with \.pdf, 1 with \.docx"):
        read(tmp_path)
    (tmp_path / "d.txt").write_bytes(b"good\nb\xe4d")
    with pytest.raises(ValueError, match=r"d\.txt is not a UTF-8 text \(line 2"):
        read(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no text at /nowhere/at\.all; give the path"):
        read("/nowhere/at.all")


def test_published_splits_are_kept(tmp_path: Path) -> None:
    folder(tmp_path, wiki_train_txt="train " * 50, wiki_valid_txt="valid", test__one_txt="test")
    splits = split_documents(read_documents(str(tmp_path), "text", None))
    assert splits == {"train": ["train " * 50], "validation": ["valid"], "test": ["test"]}


def test_a_missing_split_is_taken_from_the_training_texts() -> None:
    splits = split_documents([Document("x" * 950 + "y" * 50, "train"), Document("z", "test")])
    assert splits == {"train": ["x" * 950], "validation": ["y" * 50], "test": ["z"]}
    splits = split_documents([*(Document(f"text {i}", "train") for i in range(400)), Document("z", "validation")])
    assert splits["validation"] == ["z"]
    assert len(splits["train"]) + len(splits["test"]) == 400
    assert 5 < len(splits["test"]) < 40


def test_few_documents_are_each_cut_and_many_are_divided() -> None:
    few = split_documents([Document("a" * 180 + "b" * 10 + "c" * 10), Document("d" * 20)])
    assert few == {"train": ["a" * 180, "d" * 18], "validation": ["b" * 10, "d"], "test": ["c" * 10, "d"]}
    many = split_documents([Document(f"text {i}") for i in range(1000)])
    assert sorted(text for texts in many.values() for text in texts) == sorted(f"text {i}" for i in range(1000))
    assert {side: len(texts) // 20 for side, texts in many.items()} == {"train": 44, "validation": 2, "test": 2}


def hub(monkeypatch: pytest.MonkeyPatch, **splits: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Put a library `datasets` in place that has one data set; return what it is asked."""
    asked: list[tuple[Any, ...]] = []
    module = ModuleType("datasets")

    def load_dataset(name: str, subset: str | None, *, streaming: bool) -> dict[str, Any]:
        asked.append((name, subset, streaming))
        return {side: iter(rows) for side, rows in splits.items()}

    module.load_dataset = load_dataset  # type: ignore[attr-defined]
    module.__spec__ = sys.__spec__
    monkeypatch.setitem(sys.modules, "datasets", module)
    monkeypatch.setattr("formers.tasks.corpus.hub_documents.hub_trouble", lambda: None)
    return asked


def test_data_sets_of_the_hub_are_streamed_up_to_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"body": f"{i:04}" * 25} for i in range(1000)]
    asked = hub(monkeypatch, train=rows, test=rows, unsupervised=rows)
    found = read_documents("hub:some/texts/english", "body", 0.01)
    assert asked == [("some/texts", "english", True)]
    assert [document.side for document in found] == ["train"] * 100 + ["test"] * 10


def test_a_hub_out_of_reach_is_not_asked_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = hub(monkeypatch)
    monkeypatch.setattr("formers.tasks.corpus.hub_documents.hub_trouble", lambda: "no network")
    with pytest.raises(OSError, match=r"some/texts cannot be had from the hub \(no network\); download its texts"):
        read("hub:some/texts")
    assert asked == []


def test_data_sets_that_will_not_do(monkeypatch: pytest.MonkeyPatch) -> None:
    hub(monkeypatch, train=[{"body": "x"}])
    with pytest.raises(ValueError, match="some/texts, train, row 1: no column 'text'; it has body; give column="):
        read("hub:some/texts")
    hub(monkeypatch, train=[{"text": 1}])
    with pytest.raises(ValueError, match="row 1: 'text' must be a text, but it is int"):
        read("hub:some/texts")
    hub(monkeypatch, everything=[])
    with pytest.raises(ValueError, match=r"has no split train.*; it has everything"):
        read("hub:texts")
    monkeypatch.setattr("formers.tasks.corpus.hub_documents.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"needs the library datasets: pip install 'formers\[corpora\]'"):
        read("hub:some/texts")
