from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from tokenizers.normalizers import Lowercase
from transformers import AutoTokenizer, pipeline

from formers.models import SequenceClassifier
from formers.tasks import Classify, Reviews, parse
from formers.tasks.corpus.tokenizer_kinds import learned_bpe

Opinions = list[tuple[str, str]]


def table(place: Path, rows: Opinions, header: tuple[str, ...] = ("text", "label")) -> str:
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return str(place)


def contents(path: str, **options: object) -> dict[str, set[tuple[tuple[str, ...], str]]]:
    data = Classify(path=path, **options).data  # type: ignore[arg-type]
    sides = ("train", "validation", "test")
    return {side: {(r.texts, r.label) for r in getattr(data, side).records} for side in sides}


def test_reviews_are_this_task_on_reviews(tmp_path: Path, opinions: Opinions) -> None:
    path = table(tmp_path / "a.csv", opinions)
    ours, theirs = Classify(path=path, length=24).data, Reviews(path=path, length=24).data
    assert ours.sha256 == theirs.sha256
    assert all(a.equal(b) for a, b in zip(ours.train.ids, theirs.train.ids, strict=True))


def test_every_layout_gives_the_same_data(tmp_path: Path, opinions: Opinions) -> None:
    rows = [{"Body": text, "kind": label} for text, label in opinions]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for label in ("neg", "pos"):
        (tmp_path / "folder" / label).mkdir(parents=True)
    for i, (text, label) in enumerate(opinions):
        (tmp_path / "folder" / label / f"{i}.txt").write_text(text)
    want = contents(table(tmp_path / "a.csv", opinions))
    assert contents(str(tmp_path / "a.jsonl"), columns=("Body",), label="kind") == want
    assert contents(str(tmp_path / "folder")) == want


def test_tables_in_a_folder_are_splits_by_their_names(tmp_path: Path, opinions: Opinions) -> None:
    for name, rows in {"train": opinions[:80], "dev": opinions[80:100], "my_test": opinions[100:]}.items():
        table(tmp_path / "splits" / f"{name}.csv", rows)
    found = contents(str(tmp_path / "splits"))
    assert found["test"] == {((text,), label) for text, label in opinions[100:]}
    assert {((text,), label) for text, label in opinions[80:100]} <= found["validation"]
    table(tmp_path / "splits" / "more.csv", opinions[:5])
    with pytest.raises(ValueError, match=r"more\.csv: of several tables in a folder each is a split"):
        contents(str(tmp_path / "splits"))


def test_pairs_and_several_classes(tmp_path: Path, opinions: Opinions) -> None:
    rows = [(text, text[::-1], ("yes", "no", "maybe")[i % 3]) for i, (text, _) in enumerate(opinions)]
    path = table(tmp_path / "pairs.csv", rows, ("premise", "hypothesis", "label"))  # type: ignore[arg-type]
    task = Classify(path=path, columns=("premise", "hypothesis"), length=40)
    assert task.data.classes == ("maybe", "no", "yes")
    assert task.data.train.records[0].texts[1] == task.data.train.records[0].texts[0][::-1]
    assert task.base().num_labels == 3
    assert task.base().id2label == {0: "maybe", 1: "no", 2: "yes"}
    assert parse(repr(task)) == task


def test_macro_f1_by_hand() -> None:
    found, labels = torch.tensor([0, 0, 1, 1, 2]), torch.tensor([0, 1, 1, 1, 0])
    # class 0: 2·1 / (2 + 2), class 1: 2·2 / (2 + 3), class 2: 0
    assert Classify().more_metrics(found, labels) == {"macro_f1": pytest.approx((0.5 + 0.8 + 0) / 3)}


@pytest.mark.parametrize("tokens", ["words", "bytes"])
def test_a_saved_model_classifies_with_its_tokenizer(tmp_path: Path, opinions: Opinions, tokens: str) -> None:
    task = Classify(path=table(tmp_path / "a.csv", opinions), length=64, tokens=tokens)  # type: ignore[arg-type]
    torch.manual_seed(0)
    model = SequenceClassifier(task.base().swap(width=16, depth=1, heads=2)).eval()
    model.save_pretrained(tmp_path / "model")
    task.save(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    text = "The film is bright; Its end is SLOW."
    assert tokenizer(text)["input_ids"] == task.data.vocabulary.encode((text,))
    assert tokenizer(text, "Another")["input_ids"] == task.data.vocabulary.encode((text, "Another"))
    [found] = pipeline("text-classification", model=str(tmp_path / "model"))(text)
    ids = torch.tensor([task.data.vocabulary.encode((text,))])
    assert found["label"] == task.data.classes[int(model(input_ids=ids).logits.argmax())]


def test_the_same_pieces_may_read_otherwise(tmp_path: Path, opinions: Opinions) -> None:
    """A tokenizer in the place of another one, which has its vocabulary and other rules."""
    path, place = table(tmp_path / "a.csv", opinions), tmp_path / "tokenizer"
    found = []
    for kept in (True, False):
        tokenizer = learned_bpe([text for text, _ in opinions], 300)
        if not kept:
            tokenizer.backend_tokenizer.normalizer = Lowercase()
        tokenizer.save_pretrained(place)
        task = Classify(path=path, length=16, tokenizer=str(place))
        found.append((task.data_hash, task.reading_hash))
    assert found[0][0] == found[1][0]
    assert found[0][1] != found[1][1]
    assert Classify(path=path).reading_hash == ""


def test_any_tokenizer_reads_texts_as_its_model_does(tmp_path: Path, opinions: Opinions, real: Path) -> None:
    from transformers import BertTokenizer

    bert = BertTokenizer(vocab=str(real / "bert-vocab" / "vocab.txt"))
    bert.save_pretrained(tmp_path / "bert")
    task = Classify(path=table(tmp_path / "a.csv", opinions), length=8, tokenizer=str(tmp_path / "bert"))
    data = task.data
    text = data.train.records[0].texts[0]
    assert data.train.ids[0].tolist() == bert(text, truncation=True, max_length=8)["input_ids"]
    assert data.train.ids[0][-1] == bert.sep_token_id
    assert task.base().vocab_size == len(bert)
    with pytest.raises(ValueError, match="a tokenizer has tokens of its own"):
        Classify(tokenizer="bert", tokens="bytes")


@pytest.mark.parametrize(
    ("name", "data", "options", "message"),
    [
        ("a.csv", b"", {}, "is empty"),
        ("a.csv", b"text,label\ngood,1\nb\xe4d,0\n", {}, r"a\.csv is not a UTF-8 text \(line 3"),
        (
            "a.csv",
            b"text,mark\ngood,1\nbad,0\n",
            {},
            r"a\.csv, line 2: no column label or sentiment; it has text, mark",
        ),
        ("a.csv", b"text,mark\ngood,1\nbad,0\n", {"label": "marks"}, "line 2: no column marks"),
        ("a.csv", b"body,label\ngood,1\nbad,0\n", {"columns": ("bodies",)}, "line 2: no column bodies"),
        ("a.jsonl", b'{"text": "a", "label": 1}\n{"text": "b"}\n', {}, r"a\.jsonl, line 2: no column label"),
        ("a.jsonl", b'{"text": "a", "label": 1}\n{"text": "b", "label": null}\n', {}, "line 2: empty label"),
        ("a.csv", b"text,label\ngood,1\nfine,1\n", {}, "2 labels are needed"),
    ],
)
def test_files_that_will_not_do(
    tmp_path: Path, name: str, data: bytes, options: dict[str, object], message: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=message):
        Classify(path=str(tmp_path / name), **options).base()  # type: ignore[arg-type]


def test_where_it_looked_and_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no path is given.*Give classify\(path=…\) a CSV"):
        Classify().base()
    with pytest.raises(FileNotFoundError, match="there is no tokenizer"):
        Classify(
            path=table(tmp_path / "a.csv", [(str(i), "xy"[i % 2]) for i in range(200)]), tokenizer="/nowhere"
        ).base()
    with pytest.raises(ValueError, match="a text has one column, and a pair two"):
        Classify(columns=("a", "b", "c"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"holds no \.txt file"):
        Classify(path=str(tmp_path / "empty")).base()
