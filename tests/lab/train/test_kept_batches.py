"""Batches that one arm has made serve the next, with the same results as if each arm had made its own."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import formers.lab.train.kept_batches as kept_batches
from formers.lab import Study, run
from formers.lab.plan.jobs import plan_jobs
from formers.lab.train.job import Job
from formers.lab.train.kept_batches import KeptBatches, forget_batches
from formers.lab.train.trainer import SafeTrainer
from formers.tasks.checks.examples import CheckedExamples, Collator
from formers.tasks.windows import RandomWindows


@pytest.fixture(autouse=True)
def _nothing_kept() -> None:
    forget_batches()


def jobs(study: Study) -> list[Job]:
    return [entry for entry in plan_jobs(study) if isinstance(entry, Job)]


def data(job: Job) -> KeptBatches:
    return KeptBatches(job, job.task.build(job.seed, 16, 2))


def made(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Return a list of the batches that a task is asked for from now on."""
    asked: list[list[int]] = []
    original = CheckedExamples.__getitems__

    def listed(self: CheckedExamples, indices: list[int]) -> object:
        asked.append([*indices])
        return original(self, indices)

    monkeypatch.setattr(CheckedExamples, "__getitems__", listed)
    return asked


def test_a_batch_is_made_once_for_all_arms(small: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = made(monkeypatch)
    first, second = map(data, jobs(small))
    for indices in ([0, 1], [2, 3], [1, 0]):
        batch, again = first.__getitems__(indices), second.__getitems__(indices)
        assert torch.equal(batch.tensors["input_ids"], again.tensors["input_ids"])
        assert batch[0]["input_ids"].equal(first[indices[0]]["input_ids"])
    in_order = [indices for indices in asked if len(indices) == 2]
    assert in_order == [[0, 1], [2, 3], [1, 0], [1, 0]]  # what is out of order is not kept


def test_other_data_begin_anew(small: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    job, *_ = jobs(small)
    data(job).__getitems__([0, 1])
    asked = made(monkeypatch)
    other = data(replace(job, seed=1)).__getitems__([0, 1])
    assert asked == [[0, 1]]
    assert not other.tensors["input_ids"].equal(data(job).__getitems__([0, 1]).tensors["input_ids"])


def test_no_more_is_kept_than_there_is_room_for(small: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_batches, "_MOST", 2 * 16 * 8)  # one batch of 2 windows of 16 tokens
    first, second = map(data, jobs(small))
    asked = made(monkeypatch)
    for examples in (first, second):
        for indices in ([0, 1], [2, 3]):
            examples.__getitems__(indices)
    assert asked == [[0, 1], [2, 3], [2, 3]]


def test_what_a_model_does_to_its_inputs_reaches_no_other(small: Study) -> None:
    job, other = jobs(small)
    model = job.task.model(job.config)
    batch = Collator(job.task.task, model)(data(job).__getitems__([0, 1]))
    before = batch["labels"].clone()
    batch["input_ids"].zero_()
    assert batch["labels"].equal(before)
    again = Collator(job.task.task, model)(data(other).__getitems__([0, 1]))
    assert again["input_ids"].equal(before)


def test_arms_are_as_if_each_had_made_its_own(small: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    together = [row.curve[-1].values for row in run(small).rows]
    assert not kept_batches._kept.batches
    alone = replace(small, arms=small.arms[1:], folder=tmp_path / "alone")
    monkeypatch.setattr(RandomWindows, "__getitems__", lambda self, indices: [self[index] for index in indices])
    assert [row.curve[-1].values for row in run(alone).rows] == together[1:]


def test_a_model_forgets_its_gradients_by_itself_again(one_arm: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    original = SafeTrainer.training_step

    def watched(self: SafeTrainer, *given: object) -> torch.Tensor:
        loss = original(self, *given)
        model = copy.deepcopy(self.model)
        model.zero_grad()
        assert all(weight.grad is None for weight in model.parameters())
        assert all(weight.grad is not None for weight in self.model.parameters())  # a copy has weights of its own
        seen.append(self.model)
        return loss

    monkeypatch.setattr(SafeTrainer, "training_step", watched)
    run(one_arm)
    assert len(seen) == 8
    assert "zero_grad" not in seen[0].__dict__
