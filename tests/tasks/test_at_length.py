"""Tasks at other lengths than the trained one: what is read there, and which tasks can."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from formers.tasks import (
    TASKS,
    Classify,
    Glue,
    Listops,
    Mlm,
    Needle,
    Recall,
    Reviews,
    Shakespeare,
    Sort,
    SortSequence,
    Text,
)
from formers.tasks.checks.checked_task import CheckedTask
from formers.tasks.windows import mean_nats

READ_AT_OTHER_LENGTHS = {Shakespeare, Text, Mlm, Sort, SortSequence, Needle, Recall, Classify, Reviews, Glue}


class Reader(nn.Module):
    """Finds every symbol equally likely, and keeps what it reads."""

    device = torch.device("cpu")

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes, self.read = classes, list[Tensor]()

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> SimpleNamespace:
        self.read.append(input_ids)
        return SimpleNamespace(logits=torch.zeros(*input_ids.shape, self.classes))


class Sorter(nn.Module):
    device = torch.device("cpu")

    def forward(self, input_ids: Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=nn.functional.one_hot(input_ids.sort(1).values, 10).float())


@pytest.mark.parametrize("length", [2, 7, 16, 32, 64, 100, 171])
def test_text_is_the_same_characters_at_every_length(tmp_path: Path, length: int) -> None:
    path = tmp_path / "words.txt"
    path.write_text("the quick brown fox jumps over the lazy dog; pack my box.\n" * 60)
    task = Shakespeare(length=16, path=str(path))
    model = Reader(len(task.text.characters))
    found = task.at_length(length).evaluate(model, "test")  # type: ignore[arg-type]
    predicted = torch.cat([window[:, 1:].flatten() for window in model.read])
    assert predicted.equal(task.text.test[1:])
    assert max(window.shape[1] for window in model.read) == length
    assert found.metrics["bits_per_character"] == pytest.approx(torch.log2(torch.tensor(float(model.classes))).item())


def test_long_windows_are_read_few_at_a_time() -> None:
    model = Reader(65)
    mean_nats(model, torch.zeros(200_000, dtype=torch.long), 4096)  # type: ignore[arg-type]
    assert [len(window) for window in model.read] == [16, 16, 16, 1]


def test_a_text_that_fills_no_window_is_refused() -> None:
    with pytest.raises(ValueError, match="Tiny Shakespeare has a test split of 55,770 characters"):
        Shakespeare().at_length(1 << 16)


def test_arrays_have_the_length_and_are_held_out() -> None:
    task = Sort(length=6).at_length(24)
    inputs, _ = task.held_out("test")
    assert inputs.shape == (1024, 24)
    assert task.evaluate(Sorter(), "test").metrics["sequence_accuracy"] == 1.0  # type: ignore[arg-type]


def test_recall_has_the_same_pairs_farther_away() -> None:
    task = Recall(length=16, pairs=4)
    near, far = (at.held_out("test", 4)[1] for at in (task, task.at_length(64)))
    assert (near != -100).sum() == (far != -100).sum() == 128 * 4
    places = torch.arange(64).expand(128, 64)[far != -100].float()
    assert places.mean() > 32
    assert task.at_length(64).base().vocab_size == task.base().vocab_size


def test_reviews_are_the_same_texts_of_which_more_is_read(tmp_path: Path, opinions: list[tuple[str, str]]) -> None:
    path = tmp_path / "reviews.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *opinions])
    task = Reviews(path=str(path), length=4)
    longer = task.at_length(64)
    assert task.data.vocabulary == longer.data.vocabulary
    assert task.data_hash == longer.data_hash
    pairs = list(zip(task.data.test.ids, longer.data.test.ids, strict=True))
    assert all(short.equal(long[:4]) for short, long in pairs)
    assert any(len(long) > 4 for _, long in pairs)


def test_which_tasks_can_say_so() -> None:
    assert {task for task in TASKS if task.at_other_lengths} == READ_AT_OTHER_LENGTHS
    with pytest.raises(ValueError, match="listops is tested at its own length only, 64, not at 128"):
        Listops().at_length(128)
    assert all(task.at_other_lengths.endswith(".") for task in TASKS if task.at_other_lengths)


def test_a_checked_task_stays_one() -> None:
    assert CheckedTask(Sort(length=6)).at_length(12) == CheckedTask(Sort(length=12))
