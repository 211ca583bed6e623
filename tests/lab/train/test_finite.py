"""Metrics that are not finite: a training that diverged, told apart from a task that has nothing to measure."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from formers.lab import Study
from formers.lab.distributed import ranks
from formers.lab.plan.jobs import plan_jobs
from formers.lab.train.finite import Diverged, check_validation
from formers.lab.train.initial_weights import seeded_model
from formers.lab.train.job import Job
from formers.tasks.checks.task_error import TaskError
from formers.tasks.evaluation import Evaluation
from formers.tasks.shakespeare import Shakespeare

Check = Callable[[], None]


def evaluating(monkeypatch: pytest.MonkeyPatch, result: float | Exception) -> None:
    """Let the evaluation of the new model measure a number, or raise."""

    def evaluate(*given: object) -> Evaluation:
        if isinstance(result, Exception):
            raise result
        return Evaluation(metrics={"bits_per_character": result, "loss": result})

    monkeypatch.setattr(Shakespeare, "evaluate", evaluate)


@pytest.fixture
def check(one_arm: Study) -> Check:
    """Check a loss that is NaN after three steps."""
    [job] = plan_jobs(one_arm)
    assert isinstance(job, Job)
    model = seeded_model(job.task, job.config, job.seed)
    return lambda: check_validation(job, model, {"loss": math.nan}, 3)


@pytest.mark.parametrize(
    ("result", "error"),
    [
        (1.0, Diverged),
        (math.inf, TaskError),
        (torch.OutOfMemoryError("out of memory"), Diverged),  # no room for a second model: then nothing is known
        (MemoryError(), Diverged),
        (RuntimeError("shapes cannot be"), RuntimeError),
    ],
)
def test_a_new_model_tells_what_is_to_blame(
    check: Check, monkeypatch: pytest.MonkeyPatch, result: float | Exception, error: type[Exception]
) -> None:
    evaluating(monkeypatch, result)
    with pytest.raises(error):
        check()


def test_a_rank_without_room_for_a_new_model_meets_the_others(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluating(monkeypatch, MemoryError())
    met = list[object]()
    monkeypatch.setattr(ranks, "broadcast_from_rank0", lambda value: met.append(value) or math.nan)
    with pytest.raises(TaskError):
        check()
    assert met == [0.0]
