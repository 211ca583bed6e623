from __future__ import annotations

import pytest
import torch

from formers import Seq2SeqLM, Unsupported
from formers.lab.study.arm import Arm
from formers.tasks import Sort, SortSequence, parse
from formers.tasks.checks.checked_task import CheckedTask


def model_of(task: SortSequence, **changes: object) -> Seq2SeqLM:
    torch.manual_seed(0)
    model = task.model(task.base().swap(width=16, heads=2, **changes))
    assert isinstance(model, Seq2SeqLM)
    return model


def test_arrays_are_those_of_sort() -> None:
    task, other = SortSequence(length=6), Sort(length=6)
    assert parse("sort_sequence(length=6)") == task
    for one, same in zip(task.build(3, 5), other.build(3, 5), strict=True):
        assert one["input_ids"].equal(same["input_ids"])
        assert one["labels"].equal(same["labels"])
    assert task.data_hash != other.data_hash


def test_the_decoder_writes_an_array_without_a_trace() -> None:
    task = SortSequence(length=6, symbols=4)
    model = model_of(task)
    before = torch.random.get_rng_state()
    found = CheckedTask(task).evaluate(model)
    assert torch.random.get_rng_state().equal(before)
    assert model.training
    assert 0 <= found.metrics["sequence_accuracy"] <= found.metrics["token_accuracy"] <= 1
    assert task.answers(model, torch.tensor([[3, 0, 1, 2, 3, 1]])).shape == (1, 6)
    assert len(task.samples(model)) == 3


def test_every_arm_of_the_default_study_is_built() -> None:
    task = SortSequence(length=6)
    for text in task.arms:
        arm = Arm.parse(text)
        with torch.device("meta"):
            task.model(task.base().swap(**arm.swaps))
    with pytest.raises(Unsupported, match="cannot be cross"):
        model_of(task, cross="dense")


def test_it_is_learned() -> None:
    task = SortSequence(length=4, symbols=4)
    model = model_of(task, depth=1, encoder_depth=1)
    data = task.build(0, 64 * 100)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(100):
        rows = [data[64 * step + i] for i in range(64)]
        loss = model(**{name: torch.stack([row[name] for row in rows]) for name in rows[0]}).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert task.evaluate(model).metrics["sequence_accuracy"] > 0.7
