from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from formers.models import CausalLM
from formers.tasks import Shakespeare, parse
from formers.tasks.bigram import bigram_bits
from formers.tasks.continuation import generate
from formers.tasks.windows import mean_nats


class Uniform(nn.Module):
    """A model that finds every symbol equally likely, and counts what it is asked."""

    device = torch.device("cpu")

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.asked = size, 0

    def forward(self, input_ids: Tensor) -> SimpleNamespace:
        self.asked += input_ids[:, 1:].numel()
        return SimpleNamespace(logits=torch.zeros(*input_ids.shape, self.size))


def written(tmp_path: Path, data: bytes) -> str:
    path = tmp_path / "text.txt"
    path.write_bytes(data)
    return str(path)


def test_the_shipped_text_is_whole() -> None:
    task = Shakespeare()
    assert task.data_hash == "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
    text = task.text
    assert (len(text.train), len(text.validation), len(text.test)) == (1003854, 55770, 55770)
    assert len(text.characters) == 65


def test_the_bigram_line() -> None:
    assert Shakespeare().references()["bigram"] == pytest.approx(3.5916, abs=1e-3)


def test_bigram_by_hand() -> None:
    train, held_out = torch.tensor([0, 1, 0, 1, 0, 0]), torch.tensor([0, 1, 1])
    # counts: 0→0 once, 0→1 twice, 1→0 twice, 1→1 never; one is added to each
    expected = -(math.log2(3 / 5) + math.log2(1 / 4)) / 2
    assert bigram_bits(train, held_out, 2) == pytest.approx(expected)


def test_examples_depend_on_the_seed_and_the_index_only() -> None:
    task = Shakespeare(length=32)
    short, long = task.build(3, 10), task.build(3, 1000)
    assert all(short[i]["input_ids"].equal(long[i]["input_ids"]) for i in (9, 0, 5))
    assert not short[0]["input_ids"].equal(task.build(4, 10)[0]["input_ids"])
    assert not short[0]["input_ids"].equal(short[1]["input_ids"])
    assert short[0]["labels"].equal(short[0]["input_ids"])
    assert task.text.characters.decode(short[0]["input_ids"]) in task.text.characters.decode(task.text.train)
    with pytest.raises(IndexError):
        short[10]


@pytest.mark.parametrize("count", [5, 16, 17, 100, 101])
def test_every_token_but_the_first_is_predicted_once(count: int) -> None:
    model = Uniform(7)
    nats = mean_nats(model, torch.arange(count) % 7, 16)  # type: ignore[arg-type]
    assert model.asked == count - 1
    assert nats == pytest.approx(math.log(7))


def test_evaluation_leaves_the_model_and_the_random_state_alone() -> None:
    task = Shakespeare(length=16)
    model = CausalLM(task.base().swap(width=16, depth=1, heads=2)).train()
    state = torch.get_rng_state()
    values, samples = task.evaluate(model).metrics, task.samples(model)
    assert values["bits_per_character"] == pytest.approx(values["loss"] / math.log(2))
    assert values["loss"] == pytest.approx(math.log(65), abs=0.3)
    assert model.training
    assert torch.get_rng_state().equal(state)
    assert task.evaluate(model, "test").metrics != values
    assert samples == task.samples(model)
    assert samples[0].startswith("ROMEO:\n")
    assert len(samples[0]) == 16


def test_generation_is_seeded() -> None:
    task = Shakespeare(length=32)
    model = CausalLM(task.base().swap(width=16, depth=1, heads=2))
    ids = task.text.characters.encode("ROMEO:")
    first = generate(model, ids, tokens=20, seed=1)
    assert len(first) == 26
    assert first.equal(generate(model, ids, tokens=20, seed=1))
    assert not first.equal(generate(model, ids, tokens=20, seed=2))
    assert generate(model, ids, tokens=5, temperature=0).equal(generate(model, ids, tokens=5, temperature=0, seed=9))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b" \n ", "is empty"),
        (b"\xff\xfe\x00\x01", "not a UTF-8 text"),
        (b"abc\0def", "is binary"),
        (b"too short", "too few for windows"),
    ],
)
def test_files_that_are_no_text(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Shakespeare(path=written(tmp_path, data)).build(0, 1)


def test_a_missing_file() -> None:
    with pytest.raises(FileNotFoundError, match="give the path of a UTF-8 text"):
        Shakespeare(path="/nowhere/at.all").base()


def test_an_own_text_is_read_again_when_it_changes(tmp_path: Path) -> None:
    import os

    task = Shakespeare(length=8, path=written(tmp_path, "hällo wörld\n".encode() * 50))
    before = task.data_hash
    assert "ö" in task.text.characters.alphabet
    path = written(tmp_path, b"something else\n" * 50)
    os.utime(path, (1, 1))
    assert task.data_hash != before


def test_text_form() -> None:
    assert parse("shakespeare(length=64)") == Shakespeare(length=64)
    with pytest.raises(ValueError, match="did you mean 'shakespeare'"):
        parse("shakespere")
    with pytest.raises(ValueError, match="at least 2"):
        Shakespeare(length=1)


def test_unknown_characters_are_named() -> None:
    with pytest.raises(ValueError, match="does not know the characters"):
        Shakespeare().text.characters.encode("Ω")
