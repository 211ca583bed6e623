from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from formers.tasks import Sort, parse


class Sorter(nn.Module):
    """A model that sorts, but gets the first token wrong in every `wrong`-th array."""

    device = torch.device("cpu")

    def __init__(self, symbols: int, wrong: int = 0) -> None:
        super().__init__()
        self.symbols, self.wrong, self.seen = symbols, wrong, 0

    def forward(self, input_ids: Tensor) -> SimpleNamespace:
        answers = input_ids.sort(1).values
        if self.wrong:
            rows = torch.arange(self.seen, self.seen + len(answers)) % self.wrong == 0
            answers[rows, 0] = (answers[rows, 0] + 1) % self.symbols
        self.seen += len(answers)
        return SimpleNamespace(logits=nn.functional.one_hot(answers, self.symbols).float())


def test_a_perfect_sorter() -> None:
    task = Sort(length=6, symbols=4)
    assert task.evaluate(Sorter(4)).metrics == {"sequence_accuracy": 1.0, "token_accuracy": 1.0}  # type: ignore[arg-type]
    assert all("right" in sample for sample in task.samples(Sorter(4)))  # type: ignore[arg-type]


def test_one_wrong_token_loses_the_array() -> None:
    values = Sort(length=6, symbols=4).evaluate(Sorter(4, wrong=4)).metrics  # type: ignore[arg-type]
    assert values == {"sequence_accuracy": 0.75, "token_accuracy": pytest.approx(1 - 0.25 / 6)}


def test_examples_are_sorted_and_depend_on_the_seed_and_the_index_only() -> None:
    task = Sort(length=6)
    data = task.build(5, 100)
    assert all(data[i]["labels"].equal(data[i]["input_ids"].sort().values) for i in range(100))
    assert data[7]["input_ids"].equal(task.build(5, 8)[7]["input_ids"])
    assert not data[7]["input_ids"].equal(task.build(6, 8)[7]["input_ids"])


def test_no_array_is_in_two_splits() -> None:
    task = Sort(length=4, symbols=4)  # 256 arrays: thousands of draws would meet if they could
    data = task.build(0, 3000)
    trained = {tuple(data[i]["input_ids"].tolist()) for i in range(3000)}
    validated, tested = ({tuple(row.tolist()) for row in task.held_out(split)[0]} for split in ("validation", "test"))
    assert validated
    assert tested
    assert not trained & validated
    assert not trained & tested
    assert not validated & tested
    assert len(trained | validated | tested) > 250


def test_the_held_out_set_is_the_same_for_every_seed() -> None:
    assert Sort().held_out("test")[0].equal(Sort().held_out("test")[0])
    assert Sort().held_out("test")[0].shape == (1024, 16)


def test_chance_and_hash() -> None:
    assert Sort(length=4, symbols=4).references() == {"chance": 1 / 256}
    assert Sort().data_hash == parse("sort").data_hash
    assert Sort().data_hash != Sort(length=8).data_hash


def test_too_few_arrays() -> None:
    with pytest.raises(ValueError, match="too few arrays"):
        Sort(length=2, symbols=2)
