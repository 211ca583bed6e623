"""Needle as symbols: what is told, what is asked, where it stands, and how answers are counted."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from formers.tasks import parse
from formers.tasks.needle.task import DEPTHS, FACT, IGNORED, LINK, QUESTION, Needle


def told(tokens: list[int]) -> tuple[dict[int, list[int]], dict[int, int]]:
    """Key → its values in the order in which they stand, and key → the key that it leads to."""
    values, links = dict[int, list[int]](), dict[int, int]()
    for at, token in enumerate(tokens):
        if token == FACT:
            values.setdefault(tokens[at + 1], []).append(tokens[at + 2])
        elif token == LINK:
            links[tokens[at + 1]] = tokens[at + 2]
    return values, links


class Reader(nn.Module):
    """Finds every fact in the last `sight` tokens before the first question."""

    device = torch.device("cpu")

    def __init__(self, symbols: int, sight: int = 1 << 20) -> None:
        super().__init__()
        self.symbols, self.sight = symbols, sight

    def forward(self, input_ids: Tensor) -> SimpleNamespace:
        scores = torch.zeros(*input_ids.shape, self.symbols)
        for row, tokens in enumerate(input_ids.tolist()):
            first = tokens.index(QUESTION)
            values, links = told(tokens[max(0, first - self.sight) : first])
            for at in (at for at, token in enumerate(tokens) if token == QUESTION):
                key = tokens[at + 1]
                while key in links:
                    key = links[key]
                for place, value in enumerate(values.get(key, [])):
                    scores[row, at + 1 + place, value] = 1
        return SimpleNamespace(logits=scores)


@pytest.mark.parametrize(
    "options", [{}, {"keys": 1}, {"keys": 2, "values": 3}, {"keys": 2, "hops": 2}, {"keys": 2, "values": 2, "hops": 1}]
)
def test_a_reader_finds_everything(options: dict[str, int]) -> None:
    task = Needle(**options)
    result = task.evaluate(Reader(4 + 32))  # type: ignore[arg-type]
    assert result.metrics["accuracy"] == 1.0
    assert result.slices == {"depth": {"0%": 1.0, "25%": 1.0, "50%": 1.0, "75%": 1.0, "100%": 1.0}}
    assert all("should be" not in sample for sample in task.samples(Reader(4 + 32)))  # type: ignore[arg-type]


def test_a_reader_of_the_last_tokens_finds_what_lies_deep() -> None:
    task = Needle(length=128, keys=1)
    result = task.evaluate(Reader(4 + 32, sight=50), "test")  # type: ignore[arg-type]
    assert result.slices["depth"] == {"0%": 0.0, "25%": 0.0, "50%": 0.0, "75%": 1.0, "100%": 1.0}
    assert result.metrics["accuracy"] == pytest.approx(0.4)
    [picture] = task.pictures(Reader(4 + 32, sight=50))  # type: ignore[arg-type]
    assert picture.caption.startswith("Accuracy with the fact at 0%, 25%, 50%, 75%, 100% of the text")
    assert "32, 64, 128 tokens" in picture.caption


def test_a_sequence_of_the_training_asks_for_all_its_keys() -> None:
    data, counts = Needle(length=80, values=2).build(0, 100), set()
    for i in range(100):
        tokens, labels = (data[i][name].tolist() for name in ("input_ids", "labels"))
        assert len(tokens) == len(labels) == 80
        values, _ = told(tokens)
        asked = {tokens[at + 1]: tokens[at + 2 : at + 4] for at, token in enumerate(tokens) if token == QUESTION}
        assert asked == values
        assert [label for label in labels if label != IGNORED] == [value for pair in asked.values() for value in pair]
        counts.add(len(asked))
    assert counts == {1, 2, 3, 4}


def test_the_fact_that_is_asked_for_first_stands_at_its_depth() -> None:
    task = Needle(length=200, keys=3)
    for depth in DEPTHS:
        tokens = task.example(random.Random(1), "test", depth)["input_ids"].tolist()
        key = tokens[tokens.index(QUESTION) + 1]
        [place] = [at for at, token in enumerate(tokens) if token == FACT and tokens[at + 1] == key]
        assert abs(place - depth * 180) <= 9


def test_examples_depend_on_the_seed_and_the_index_only_and_are_in_one_split() -> None:
    task = Needle()
    assert task.build(3, 10)[7]["input_ids"].equal(task.build(3, 900)[7]["input_ids"])
    assert not task.build(3, 10)[7]["input_ids"].equal(task.build(4, 10)[7]["input_ids"])
    tiny, stream = Needle(length=7, keys=1, vocab=8), random.Random(0)
    sides = {
        side: {tuple(tiny.example(stream, side)["input_ids"].tolist()) for _ in range(100)}
        for side in ("train", "validation", "test")
    }
    assert not sides["train"] & sides["validation"]
    assert not sides["train"] & sides["test"]
    assert not sides["validation"] & sides["test"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("needle(keys=0)", "keys and values are 1 or more"),
        ("needle(keys=8, values=4)", "8 keys and 32 values need as many symbols"),
        ("needle(length=20)", "need a length of at least 28, not 20"),
    ],
)
def test_what_cannot_be_drawn_is_said(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse(text)


def test_chance_and_text_form() -> None:
    assert Needle(keys=2, values=2).references() == {"chance": 1 / 16}
    assert parse("needle(keys=2, hops=1)") == Needle(keys=2, hops=1)
    assert Needle(hops=1).data_hash != Needle().data_hash
