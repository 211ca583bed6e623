"""A larger search in its folder: broken off and gone on with, in stages, and its report from the rows alone."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from formers.lab import Arm, Budget, Stopped, Study, run
from formers.lab.report.stored_results import stored_results
from formers.lab.store.records import Results, Row
from formers.lab.study.search_space import SearchSpace
from formers.lab.train.job import Job
from formers.lab.train.progress import Progress, Silent
from formers.lab.train.stop import Stop

OPTIONS = {"mixer": "softmax, linear", "depth": "1..3", "lr": "log(1e-4..1e-2)"}


@pytest.fixture
def searching(small: Study) -> Study:
    space = SearchSpace(options=OPTIONS, under="parameters=8k", trials=5, together=2, front=2)
    return replace(small, arms=(Arm("base"),), space=space, search_seeds=(7,))


class Pretended:
    """Trains nothing: a run's loss follows from its depth and its rate, and runs of a linear mixer fail."""

    def __init__(self, stop_at: int = -1) -> None:
        self.trained, self.stop_at = list[str](), stop_at

    def run_jobs(self, jobs: Sequence[Job], progress: Progress, stop: Stop) -> Generator[tuple[int, Row], None, None]:
        for index, job in enumerate(jobs):
            if len(self.trained) == self.stop_at:
                return
            self.trained.append(job.label)
            yield index, self.row(job)

    def row(self, job: Job) -> Row:
        found = replace(job.empty_row(), parameters=1000 * job.config.depth, train_seconds=1.0, tokens_per_second=1.0)
        if job.is_search and "linear" in job.options["mixer"]:
            return replace(found, status="failed", cause="it failed")
        values = {job.study.task.metric.name: abs(job.budget.learning_rate - 3e-3) + 1 / job.config.depth}
        return replace(found, status="finished", validation=values, metrics={} if job.is_search else values)


def drawn(results: Results) -> list[tuple[str, str, dict[str, str], int]]:
    return [(row.arm, row.status, row.options, row.seed) for row in (*results.search, *results.rows)]


def test_a_search_that_is_broken_off_goes_on_with_the_same_trials(searching: Study, tmp_path: Path) -> None:
    whole = run(replace(searching, folder=tmp_path / "whole"), executor=Pretended())
    assert {row.status for row in whole.search} >= {"finished", "failed"}
    with pytest.raises(
        Stopped, match=r"stopped: 1 of 2 runs from trial \d+ on, in a search for 5 trials, are done. Go on"
    ):
        run(searching, executor=Pretended(stop_at=1))
    with pytest.raises(Stopped, match=r"in a search for 5 trials"):
        run(searching, executor=Pretended(stop_at=2))
    partly = stored_results(searching.folder)
    assert drawn(partly)[:3] == drawn(whole)[:3]
    assert len(partly.search) < len(whole.search)
    last = Pretended()
    assert drawn(run(searching, executor=last)) == drawn(whole)
    assert len(last.trained) == 5 - 3 + len(whole.rows), "nothing is trained twice, not even what failed"
    assert drawn(stored_results(searching.folder)) == drawn(whole)
    assert stored_results(searching.folder).under == {"parameters": 8000.0}


class Impatient(Silent):
    """Presses Ctrl-C when the second run begins."""

    ended = 0

    def end(self, row: Row, label: str) -> None:
        self.ended += 1

    def begin(self, label: str, steps: int) -> None:
        if self.ended == 1:
            raise KeyboardInterrupt


def test_a_search_trains_in_stages(searching: Study) -> None:
    space = SearchSpace(options={"mixer": "softmax, identity", "lr": "log(1e-3..1e-2)"}, trials=2, together=1)
    given = replace(searching, space=space, budget=Budget(steps=4, batch_size=2, evaluations=1, stages=2))
    results = run(given)
    assert len(results.search) == 2
    assert {row.status for row in (*results.search, *results.rows)} == {"finished"}
    metric = given.task.metric.name
    assert all(row.steps == 4 and metric in row.validation and not row.metrics for row in results.search)
    assert not list((given.folder / "checkpoints").glob("*"))
    page = (given.folder / "report.html").read_text()
    assert "on the front of validation" in page
    assert 'id="front"' in page


@pytest.mark.slow
def test_lists_of_rates_are_searched_in_stages(small: Study) -> None:
    rates = (1e-9, 1e-2)
    budget = Budget(steps=4, batch_size=2, evaluations=2, stages=2)
    given = replace(small, arms=small.arms[:1], budget=budget, search={"learning_rate": rates})
    with pytest.raises(Stopped):
        run(given, Impatient())
    results = run(given)
    assert [(row.steps, row.budget["stages"], row.budget["learning_rate"]) for row in results.search] == [
        (4, 2, rate) for rate in rates
    ]
    assert [row.options for row in results.rows] == [{"learning_rate": "0.01"}]
    assert results.rows[0].budget["stages"] == 2
    assert stored_results(given.folder).rows == results.rows
    assert "in 2 stages" in results.budget
