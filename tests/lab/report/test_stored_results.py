"""A folder in which several studies ran, one after the other, shows the rows of the one that is described there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from formers.lab import Arm, Budget, Compute, Store, Study, run
from formers.lab.executors.executor import Executor
from formers.lab.plan import step_time
from formers.lab.report.stored_results import stored_results
from formers.lab.store.experiment import experiment_name
from formers.lab.store.records import Results, Row
from formers.lab.train.job import Job

OTHERS: dict[str, dict[str, Any]] = {
    "steps": {"budget": Budget(steps=16, batch_size=2, evaluations=2)},
    "stages": {"budget": Budget(steps=8, batch_size=2, evaluations=2, stages=2)},
    "rate": {"budget": Budget(steps=8, batch_size=2, evaluations=2, learning_rate=0.5)},
    "size": {"base": {"width": 32}},
    "dropout": {"base": {"width": 16, "depth": 1, "heads": 2, "position": "learned", "dropout": 0.2}},
    "part": {"base": {"width": 16, "depth": 1, "heads": 2, "position": "rotary"}},
    "of an arm": {"arms": (Arm("softmax", {"mixer": "dense"}), Arm("identity", {"mixer": "identity", "depth": 2}))},
    "precision": {"compute": Compute(precision="bf16")},
    "nothing": {},
}


class Pretended:
    """An executor that trains nothing, and has another result each time that it is asked for one."""

    name = "pretended"

    def __init__(self) -> None:
        self.count = 0

    def run_jobs(self, jobs: list[Job], progress: object, stop: object) -> Any:
        for i, job in enumerate(jobs):
            self.count += 1
            value = {job.study.task.metric.name: float(self.count)}
            row = replace(job.empty_row(), status="finished", validation=value, environment=job.study.compute.facts)
            yield i, replace(row, metrics={} if job.is_search else value, steps=job.budget.steps)


def results_of(study: Study) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    found: Results = stored_results(study.folder)
    return found.rows, found.search


def both(study: Study, other: Study) -> None:
    """Run a study, another one in its folder, and the first one again, and look at it after each."""
    executor: Executor = Pretended()  # type: ignore[assignment]
    for it in (study, other, study):
        shown = run(it, executor=executor)
        assert results_of(it) == (shown.rows, shown.search)


@pytest.mark.parametrize("what", OTHERS)
def test_rows_of_another_study_of_the_folder_are_not_shown(small: Study, what: str) -> None:
    both(small, replace(small, **OTHERS[what]))


def test_rows_of_another_task_are_not_shown(small: Study) -> None:
    text = str(small.task)
    both(small, replace(small, task=text.replace("length=16", "length=8")))


def test_trials_of_another_search_are_not_shown(small: Study) -> None:
    searching = replace(small, search={"learning_rate": (1e-3, 1e-2)})
    both(searching, replace(searching, budget=OTHERS["steps"]["budget"]))


@pytest.mark.parametrize("match", ["parameters", "time"])
def test_what_is_matched_is_of_the_study(small: Study, match: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_time, "measure_relative_step_time", lambda *given: 2.0)
    matched = replace(small, match=match)
    shown = run(matched, executor=Pretended())  # type: ignore[arg-type]
    assert results_of(matched) == (shown.rows, ())
    assert len(shown.rows) == 2


def test_arms_that_cannot_exist_are_of_the_study(small: Study) -> None:
    given = replace(small, arms=(*small.arms, Arm("fourier", {"mixer": "fourier"})))
    both(given, replace(given, budget=OTHERS["steps"]["budget"]))


def test_rows_of_older_versions_are_shown(one_arm: Study) -> None:
    """They know neither their budget nor every option of today's configurations."""
    [row] = run(one_arm, executor=Pretended()).rows  # type: ignore[arg-type]
    (one_arm.folder / "report.json").unlink()
    old = replace(row, budget={}, command="", config={"width": 16}, metrics={"loss": 7.0})
    Store(one_arm.folder, experiment_name(one_arm.folder)).save(old)
    assert results_of(one_arm)[0] == (old,)
