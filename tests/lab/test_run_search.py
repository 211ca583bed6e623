"""A search tries every alternative of every arm with seeds of its own; what is best on validation is ranked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from formers.lab import Arm, Stopped, Study, run
from formers.lab.report.stored_results import stored_results
from formers.lab.store.records import Results
from formers.lab.train.progress import Silent

RATES = (1e-9, 1e-2)
ARMS = (Arm("softmax", {"mixer": "softmax"}), Arm("sizes", {"mixer": "{identity, softmax}"}))


@pytest.fixture
def searching(small: Study) -> Study:
    return replace(small, arms=ARMS, search={"learning_rate": RATES}, search_seeds=(7,), seeds=(0, 1))


class Ending(Silent):
    """A listener that counts the runs that end, and presses Ctrl-C at one of them."""

    def __init__(self, stop_at: int = -1) -> None:
        self.ended, self.stop_at = 0, stop_at

    def begin(self, label: str, steps: int) -> None:
        if self.ended == self.stop_at:
            raise KeyboardInterrupt

    def end(self, row: object, label: str) -> None:
        self.ended += 1


def check(results: Results) -> None:
    assert [(row.arm, row.options["learning_rate"], row.seed) for row in results.search] == [
        (arm, rate, 7)
        for arm, rates in (("softmax", 1), ("sizes", 2))
        for rate in ("1e-09", "0.01")
        for _ in range(rates)
    ]
    assert all(row.is_search and not row.metrics and "loss" in row.validation for row in results.search)
    assert [(row.arm, row.seed) for row in results.rows] == [(arm.name, seed) for seed in (0, 1) for arm in ARMS]
    assert all(row.options["learning_rate"] == "0.01" and row.metrics for row in results.rows)
    best = min((row for row in results.search if row.arm == "sizes"), key=lambda row: row.validation["loss"])
    assert results.rows[1].options == best.options


def test_each_arm_takes_what_is_best_on_validation(searching: Study) -> None:
    results = run(searching)
    check(results)
    folders = {path.name for path in (searching.folder / "models").iterdir()}
    assert len(folders) == 4, "models of the search are not kept"
    assert not list((searching.folder / "checkpoints").glob("*"))
    assert stored_results(searching.folder).rows == results.rows
    again = Ending()
    run(searching, again)
    assert again.ended == 10


def test_a_search_goes_on_where_it_was_stopped(searching: Study) -> None:
    with pytest.raises(Stopped, match="Go on with"):
        run(searching, Ending(stop_at=3))
    found = stored_results(searching.folder)
    assert (len(found.rows), len(found.search)) == (0, 3)
    check(run(searching))


def test_a_rate_that_diverges_is_not_taken(searching: Study) -> None:
    results = run(replace(searching, arms=ARMS[:1], search={"learning_rate": (1e30, 1e-2)}, seeds=(0,)))
    assert [row.status for row in results.search] == ["diverged", "finished"]
    assert results.rows[0].options == {"learning_rate": "0.01"}
