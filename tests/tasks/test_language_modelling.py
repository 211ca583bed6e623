from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoTokenizer, pipeline

from formers.models import CausalLM
from formers.tasks import Shakespeare, Text, parse
from formers.tasks.continuation import generate
from formers.tasks.text import read_text

SENTENCE = "the quick brown fox jumps over the lazy dog; pack my box with five dozen jugs.\n"


class Uniform(nn.Module):
    """A model that finds every token equally likely."""

    device = torch.device("cpu")

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, input_ids: Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=torch.zeros(*input_ids.shape, self.size))


def written(tmp_path: Path, text: str = SENTENCE * 60) -> str:
    path = tmp_path / "text.txt"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_shakespeare_is_this_task_on_characters_of_one_text(tmp_path: Path) -> None:
    path = written(tmp_path, read_text(None)[:20_000])
    ours, theirs = Text(length=64, tokens="characters", path=path), Shakespeare(length=64, path=path)
    for side in ("train", "validation", "test"):
        assert getattr(ours.text, side).equal(getattr(theirs.text, side).int())
    model = CausalLM(theirs.base().swap(width=16, depth=1, heads=2, vocab_size=len(ours.text.pieces)))
    found = ours.evaluate(model).metrics
    assert found["bits_per_byte"] == pytest.approx(found["loss"] / math.log(2))  # each character is one byte
    assert found["perplexity"] == pytest.approx(math.exp(found["loss"]))
    assert Text().references()["bigram"] == pytest.approx(3.59, abs=0.02)  # of 256 bytes, not of 65 characters


@pytest.mark.parametrize("tokens", ["bytes", "characters", "bpe"])
def test_bits_are_counted_for_each_byte_of_the_text(tmp_path: Path, tokens: str) -> None:
    task = Text(length=16, path=written(tmp_path, "ünïcödé wörds. " * 200), tokens=tokens)
    size = len(task.text.pieces)
    test = task.text.pieces.decode(task.text.test)
    expected = math.log2(size) * len(task.text.test) / len(test.encode())
    assert task.evaluate(Uniform(size), "test").metrics["bits_per_byte"] == pytest.approx(expected)  # type: ignore[arg-type]


def test_the_same_data_whatever_the_tokens(tmp_path: Path) -> None:
    path = written(tmp_path)
    hashes = {Text(length=16, path=path, tokens=tokens).data_hash for tokens in ("bytes", "characters", "bpe")}
    assert len(hashes) == 1
    (tmp_path / "text.txt").write_text(SENTENCE * 61)
    assert Text(length=16, path=path).data_hash not in hashes


def test_documents_are_ended_where_there_are_several(tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / f"{i}.txt").write_text(f"{i}" * 200)
    text = Text(length=8, path=str(tmp_path)).text
    assert text.train.tolist() == [number for i in range(3) for number in [*(f"{i}" * 180).encode(), 256]]
    assert text.bytes == {"train": 540, "validation": 30, "test": 30}


def test_examples_are_windows_of_the_training_text(tmp_path: Path) -> None:
    task = Text(length=16, path=written(tmp_path), tokens="bpe", vocab=300)
    data = task.build(3, 10)
    assert all(data[i]["input_ids"].equal(task.build(3, 99)[i]["input_ids"]) for i in (9, 0))
    assert data[0]["input_ids"].dtype == torch.long
    whole = task.text.pieces.decode(task.text.train)
    assert task.text.pieces.decode(data[0]["labels"]) in whole
    rows = task.swap(contiguous=True).segments(0, 20, 2)
    assert all(rows[i]["labels"][-1] == rows[i + 2]["input_ids"][0] for i in (0, 1, 2, 3))


def test_a_saved_model_carries_its_tokenizer(tmp_path: Path) -> None:
    task = Text(length=32, path=written(tmp_path), tokens="bpe", vocab=300)
    torch.manual_seed(0)
    model = CausalLM(task.base().swap(width=16, depth=1, heads=2)).eval()
    model.save_pretrained(tmp_path / "model")
    task.save(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert tokenizer("the lazy dog")["input_ids"] == task.text.pieces.encode("the lazy dog").tolist()
    write = pipeline("text-generation", model=str(tmp_path / "model"))
    [made] = write("the lazy", max_new_tokens=5, do_sample=False)
    ids = generate(model, task.text.pieces.encode("the lazy"), tokens=5, temperature=0)
    assert made["generated_text"] == task.text.pieces.decode(ids)


def test_shakespeares_models_do_as_well(tmp_path: Path) -> None:
    task = Shakespeare()
    task.save(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer("ROMEO:\nBut soft")["input_ids"] == task.text.characters.encode("ROMEO:\nBut soft").tolist()
    assert len(tokenizer) == 65


def test_samples_go_on_with_the_text(tmp_path: Path) -> None:
    task = Text(length=32, path=written(tmp_path))
    [sample] = task.samples(CausalLM(task.base().swap(width=16, depth=1, heads=2)))
    assert sample.startswith(SENTENCE[:8])


def test_tokens_that_lose_something_are_told(tmp_path: Path) -> None:
    task = Text(length=8, path=written(tmp_path, "Ünïcödé WÖRDS. " * 300), tokens="word_pieces", vocab=300)
    with pytest.warns(UserWarning, match="does not give the text back as it was"):
        task.text  # noqa: B018


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 1}, "length must be at least 2"),
        ({"vocab": 500}, "vocab=500 is of pieces that are learned; leave it out with tokens='bytes'"),
        ({"vocab": 10, "tokens": "bpe"}, "from 300"),
        ({"megabytes": 0.0}, "megabytes must be more than 0"),
    ],
)
def test_options_that_cannot_be(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Text(**options)  # type: ignore[arg-type]


def test_texts_that_are_too_short(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="too little text, none is left for validation"):
        Text(path=written(tmp_path, "short")).base()
    with pytest.raises(ValueError, match=r"text\.txt: 720 tokens to train on.*too few for windows of 1000"):
        Text(path=written(tmp_path, "x" * 800), length=1000).base()
    with pytest.raises(ValueError, match="test split of 40 tokens, which fills no window of 64"):
        Text(path=written(tmp_path, "x" * 800), length=16).at_length(64)


def test_text_form() -> None:
    text = "text(tokens='bpe',vocab=500,path='/data/a b.txt')"
    assert parse(text) == Text(tokens="bpe", vocab=500, path="/data/a b.txt")
    assert all(parse(repr(one)) == one for one in (Text(), parse(text)))


def test_windows_of_other_lengths_cover_the_same_text(tmp_path: Path) -> None:
    task = Text(length=16, path=written(tmp_path))
    found = [task.at_length(length).evaluate(Uniform(257), "test").metrics for length in (8, 16, 100)]  # type: ignore[arg-type]
    assert all(a["bits_per_byte"] == pytest.approx(b["bits_per_byte"]) for a, b in pairwise(found))
