from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from zipfile import ZipFile

import pytest
import torch
from torch import Tensor, nn
from transformers import default_data_collator

from formers.models import SequenceClassifier
from formers.tasks import Reviews, parse
from formers.tasks import reviews as module

Opinions = list[tuple[str, str]]


def table(place: Path, opinions: Opinions, header: tuple[str, str] = ("text", "label")) -> str:
    with place.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter="\t" if place.suffix == ".tsv" else ",").writerows([header, *opinions])
    return str(place)


def folder(place: Path, opinions: Opinions) -> str:
    for i, (text, label) in enumerate(opinions):
        file = place / "movie_reviews" / label / f"{i:03}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    (place / "movie_reviews" / "README").write_text("not a review")
    return str(place)


def zipped(place: Path, opinions: Opinions) -> str:
    with ZipFile(place, "w") as archive:
        archive.writestr("movie_reviews/README", "not a review")
        for i, (text, label) in enumerate(opinions):
            archive.writestr(f"movie_reviews/{label}/{i:03}.txt", text)
    return str(place)


class Oracle(nn.Module):
    """Knows every text by its first tokens, and calls each of `wrong` by the wrong label."""

    device = torch.device("cpu")

    def __init__(self, task: Reviews, wrong: set[int]) -> None:
        super().__init__()
        texts = task.data.test
        self.answers = {
            tuple(ids.tolist()): int(label) ^ (i in wrong)
            for i, (ids, label) in enumerate(zip(texts.ids, texts.labels, strict=True))
        }

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> SimpleNamespace:
        kept = [tuple(ids[mask.bool()].tolist()) for ids, mask in zip(input_ids, attention_mask, strict=True)]
        return SimpleNamespace(logits=torch.eye(2)[[self.answers[ids] for ids in kept]])


def test_every_layout_gives_the_same_data(tmp_path: Path, opinions: Opinions) -> None:
    paths = [
        table(tmp_path / "a.csv", opinions),
        table(tmp_path / "a.tsv", opinions),
        table(tmp_path / "b.csv", opinions, ("Review", "Sentiment")),
        folder(tmp_path / "texts", opinions),
        zipped(tmp_path / "a.zip", opinions),
    ]
    found = [
        {(r.texts, r.label) for part in (d.train, d.validation, d.test) for r in part.records}
        for d in (Reviews(path=p).data for p in paths)
    ]
    assert all(records == {((text,), label) for text, label in opinions} for records in found)


def test_splits_are_by_the_text_alone(tmp_path: Path, opinions: Opinions) -> None:
    whole = Reviews(path=table(tmp_path / "whole.csv", opinions)).data
    less = Reviews(path=table(tmp_path / "less.csv", opinions[::-1][:100])).data
    test = {record.content for record in whole.test.records}
    assert {record.content for record in less.test.records} <= test
    assert not test & {record.content for record in whole.train.records}
    assert len(whole.train.ids) > 80


def test_examples_stack_under_the_default_collator(tmp_path: Path, opinions: Opinions) -> None:
    task = Reviews(length=24, path=table(tmp_path / "a.csv", opinions))
    data = task.build(5, 100)
    batch = default_data_collator([data[i] for i in range(8)])
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (8, 24)
    assert batch["labels"].shape == (8,)
    assert (batch["input_ids"] != 0).equal(batch["attention_mask"].bool())
    assert data[7]["input_ids"].equal(task.build(5, 8)[7]["input_ids"])
    assert any(not data[i]["input_ids"].equal(task.build(6, 8)[i]["input_ids"]) for i in range(8))
    assert {int(data[i]["labels"]) for i in range(30)} == {0, 1}


@pytest.mark.parametrize("tokens", ["words", "bytes"])
def test_tokens_and_labels_are_those_of_the_text(tmp_path: Path, opinions: Opinions, tokens: str) -> None:
    data = Reviews(length=12, tokens=tokens, path=table(tmp_path / "a.csv", opinions)).data
    for ids, label, record in zip(data.test.ids, data.test.labels, data.test.records, strict=True):
        assert ids.tolist() == data.vocabulary.encode(record.texts)[:12]
        assert data.classes[label] == record.label


def test_bytes_are_those_of_the_text(tmp_path: Path, opinions: Opinions) -> None:
    data = Reviews(length=8, tokens="bytes", path=table(tmp_path / "a.csv", opinions)).data
    assert bytes((data.test.ids[0] - 1).tolist()) == data.test.records[0].texts[0].encode()[:8]


def test_accuracy_items_slices_and_samples(tmp_path: Path, opinions: Opinions) -> None:
    task = Reviews(length=32, path=table(tmp_path / "a.csv", opinions))
    count = len(task.data.test.ids)
    result = task.evaluate(Oracle(task, {0}), "test")  # type: ignore[arg-type]
    assert result.metrics == {"accuracy": pytest.approx(1 - 1 / count)}
    assert result.items == (0.0, *[1.0] * (count - 1))
    assert set(result.slices["tokens"]) <= {"1–8", "9–16", "17–32"}
    samples = task.samples(Oracle(task, {0}))  # type: ignore[arg-type]
    assert "should be" in samples[0]
    assert "(right)" in samples[1]


def test_evaluation_leaves_the_model_and_the_random_state_alone(tmp_path: Path, opinions: Opinions) -> None:
    task = Reviews(length=16, path=table(tmp_path / "a.csv", opinions))
    model = SequenceClassifier(task.base().swap(width=16, depth=1, heads=2)).train()
    state = torch.get_rng_state()
    assert task.evaluate(model) == task.evaluate(model)
    assert model.training
    assert torch.get_rng_state().equal(state)


def test_majority(tmp_path: Path, opinions: Opinions) -> None:
    task = Reviews(path=table(tmp_path / "a.csv", [o for o in opinions if o[1] == "neg"] + opinions[60:75]))
    labels = task.data.test.labels
    assert task.references() == {"majority": pytest.approx((labels == 0).double().mean().item())}


def test_data_is_read_again_when_it_changes(tmp_path: Path, opinions: Opinions) -> None:
    path = tmp_path / "a.csv"
    task = Reviews(path=table(path, opinions))
    before = task.data_hash
    assert task.data_hash == before
    table(path, opinions[1:])
    assert task.data_hash != before


def test_the_vocabulary_is_kept_beside_a_model_and_can_be_given(tmp_path: Path, opinions: Opinions) -> None:
    path = table(tmp_path / "a.csv", opinions)
    task = Reviews(path=path)
    task.save(tmp_path)
    given = Reviews(path=path, vocabulary=str(tmp_path / "vocab.txt"))
    assert given.data.vocabulary == task.data.vocabulary
    assert given.data_hash == task.data_hash


def test_where_it_looked_and_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match=r"FORMERS_DATA is not set.*curl -LO https://"):
        Reviews().base()
    with pytest.raises(FileNotFoundError, match=r"looked at /nowhere\.csv"):
        Reviews(path="/nowhere.csv").base()
    monkeypatch.setenv("FORMERS_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"movie_reviews\.zip"):
        Reviews().base()


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"\x89PNG\x00\xff", "not a UTF-8 text"),
        ("a.tsv", b"text\tlabel\nab\0c\tpos\n", "is binary"),
        ("a.csv", b"text,mark\ngood,1\nbad,0\n", "no column label or sentiment; it has text, mark"),
        ("a.csv", b"text,label\ngood,1\nbad,0,x\n", "line 3: 3 columns"),
        ("a.csv", b"text,label\ngood,1\nfine,1\n", "2 labels are needed"),
        ("a.csv", b"text,label\na,1\nb,2\nc,3\nd,4\n", "is that the label column"),
        ("a.csv", b"text,label\na,1\nb,2\nc,1\n ,2\n", "empty text"),
        ("a.csv", b"text,label\na,1\nb,2\n", "too few texts"),
        ("a.zip", b"no zip at all", "not a zip file"),
        ("a.txt", b"a text", "neither a .csv"),
    ],
)
def test_files_that_will_not_do(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=message):
        Reviews(path=str(tmp_path / name)).base()


def test_an_empty_text_in_a_folder_is_named(tmp_path: Path, opinions: Opinions) -> None:
    folder(tmp_path, opinions)
    (tmp_path / "movie_reviews" / "pos" / "060.txt").write_text(" ")
    with pytest.raises(ValueError, match=r"movie_reviews/pos/060\.txt is empty"):
        Reviews(path=str(tmp_path)).base()


def test_from_the_hub(monkeypatch: pytest.MonkeyPatch, opinions: Opinions) -> None:
    asked = []

    def rows(repo: str, file: str) -> list[dict[str, object]]:
        asked.append((repo, file))
        return [{"text": f"{text} {file}", "label": int(label == "pos")} for text, label in opinions]

    monkeypatch.setattr(module, "hub_rows", rows)
    data = Reviews(path="hub").data
    assert data.classes == ("negative", "positive")
    assert asked == [("stanfordnlp/imdb", file) for file in module.HUB_FILES]


def test_text_form_and_options() -> None:
    assert parse("reviews(length=2048, tokens=bytes)") == Reviews(length=2048, tokens="bytes")
    with pytest.raises(ValueError, match="bytes need no vocabulary"):
        Reviews(tokens="bytes", vocabulary="vocab.txt")


def test_the_real_reviews(real: Path) -> None:
    data = Reviews(length=64, vocab=2000).data
    sizes = [len(part.ids) for part in (data.train, data.validation, data.test)]
    assert data.classes == ("neg", "pos")
    assert sizes == [1608, 192, 200]
    assert len(data.vocabulary) == 2000
    assert Reviews(length=64, vocab=2000).references()["majority"] == pytest.approx(0.5, abs=0.05)
