"""A larger search draws its trials from the study and their results alone, whatever breaks it off or trains them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

import pytest

from formers.lab import Arm, Study
from formers.lab.plan.forecast import forecast
from formers.lab.plan.sampled_search import SampledSearch
from formers.lab.plan.trial_costs import with_latency
from formers.lab.store.records import Row
from formers.lab.study.choosing import front_candidates
from formers.lab.study.search_space import SearchSpace
from formers.lab.train.job import Job

OPTIONS = {"mixer": "softmax, linear", "depth": "1..3", "lr": "log(1e-4..1e-1)"}


@pytest.fixture
def searching(small: Study) -> Study:
    space = SearchSpace(options=OPTIONS, under="parameters=8k", trials=6, front=3)
    return replace(small, arms=(Arm("base"),), space=space, seeds=(0, 1), search_seeds=(7,))


def result(job: Job) -> Row:
    """What a run would have: a loss that follows from its depth and its rate; at high rates there is none."""
    rate = job.budget.learning_rate
    loss = abs(rate - 3e-3) + 1 / job.config.depth
    if rate > 0.05:
        return replace(job.empty_row(), status="out_of_memory", parameters=1000 * job.config.depth)
    values = {job.study.task.metric.name: loss}
    return replace(job.empty_row(), status="finished", validation=values, parameters=1000 * job.config.depth)


def rows_of(study: Study, backwards: bool = False) -> list[Row]:
    search, found = SampledSearch(study), list[Row]()
    while entries := search.draw():
        rows = [result(entry) if isinstance(entry, Job) else entry for entry in entries]
        search.tell(rows[::-1] if backwards else rows)
        found += rows
    return found


def with_space(study: Study, options: dict[str, str] | None = None, **changes: object) -> Study:
    assert study.space is not None
    space = SearchSpace(options=options, trials=20) if options else study.space
    return replace(study, space=replace(space, **changes))  # type: ignore[arg-type]


def drawn(rows: Sequence[Row]) -> list[tuple[str, str, dict[str, str]]]:
    return [(row.arm, row.status, row.options) for row in rows]


def test_trials_within_the_limit_are_trained_and_the_front_is_ranked(searching: Study) -> None:
    rows = rows_of(searching)
    trained = [row for row in rows if row.status != "pruned"]
    assert len(trained) == 6
    assert all(row.is_search and row.seed == 7 and row.search_id for row in rows)
    beyond = [row for row in rows if row.status == "pruned"]
    assert beyond
    assert all(row.parameters > 8000 and "and at most 8 k is allowed" in row.cause for row in beyond)
    assert len({row.fingerprint for row in rows}) == len(rows)
    front = front_candidates(searching, rows)
    best = min((row for row in trained if row.validation), key=lambda row: min(row.validation.values()))
    assert front[-1].arm.name == best.arm
    assert (front[-1].options, front[-1].budget.to_dict()) == (best.options, best.budget)
    assert len(front) <= 3


def test_the_order_of_results_changes_nothing(searching: Study) -> None:
    rows = rows_of(searching)
    assert drawn(rows_of(searching, backwards=True)) == drawn(rows)
    more = rows_of(with_space(searching, trials=7))
    assert drawn(more[: len(rows)]) == drawn(rows), "more trials begin with those that are there"
    assert drawn(rows_of(replace(searching, search_seeds=(8,)))) != drawn(rows)


def test_a_trial_with_several_seeds_counts_once(searching: Study) -> None:
    rows = rows_of(with_space(replace(searching, search_seeds=(7, 8)), trials=3))
    trained = [(row.arm, row.seed) for row in rows if row.status != "pruned"]
    assert len(trained) == 6
    assert {seed for _, seed in trained} == {7, 8}


def test_the_sampler_learns(searching: Study) -> None:
    rows = rows_of(with_space(searching, {"depth": "1, 2", "lr": "log(1e-4..1e-1)"}))
    rates = [abs(float(row.options["learning_rate"]) - 3e-3) for row in rows]
    assert sorted(rates[-8:])[4] < sorted(rates[:8])[4]


def test_a_small_space_ends_when_all_of_it_is_known(searching: Study) -> None:
    rows = rows_of(with_space(searching, {"mixer": "softmax, linear", "depth": "1, 2"}))
    assert len(rows) == 4
    assert len({tuple(row.options.values()) for row in rows}) == 4


def test_values_that_do_not_go_together_are_rows(searching: Study) -> None:
    rows = rows_of(with_space(searching, {"width": "16, 30", "heads": "2, 4"}))
    unfit = [row for row in rows if row.status == "unsupported"]
    assert unfit
    assert all(row.options == {"width": "30", "heads": "4"} and "30" in row.cause for row in unfit)
    assert {row.status for row in rows} == {"finished", "unsupported"}


def test_latency_is_measured_once(searching: Study) -> None:
    given = with_space(searching, {"depth": "1..2"}, under={"latency": 100}, trials=2)
    rows = rows_of(given)
    kept = (given.folder / "latency.json").read_text()
    assert all(row.latency_seconds and row.latency_seconds > 0 for row in rows)
    assert [row.latency_seconds for row in rows_of(given)] == [row.latency_seconds for row in rows]
    assert (given.folder / "latency.json").read_text() == kept
    front = front_candidates(given, rows)
    assert [it.options for it in front] == [row.options for row in rows if row.arm in [it.arm.name for it in front]]
    search = SampledSearch(given)
    assert all(isinstance(it, Job) and it.latency_seconds for it in with_latency(search.draw(), {"latency": 1.0}))
    (given.folder / "latency.json").write_text('{"a": 0}')
    with pytest.raises(ValueError, match=r"latency.json cannot be read"):
        rows_of(given)


def test_what_does_not_stream_has_no_state_to_bound(searching: Study) -> None:
    rows = rows_of(with_space(replace(searching, task="mlm(length=16)"), {"depth": "1, 2"}, under={"state": 1000}))
    assert [row.status for row in rows] == ["pruned", "pruned"]
    assert "no state that could be bounded" in rows[0].cause


def test_without_optuna_nothing_is_drawn(searching: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'formers\[search\]'"):
        SampledSearch(searching)


def test_a_forecast_shows_some_trials_and_counts_all(searching: Study) -> None:
    found = list(forecast(replace(with_space(searching, together=2), folder=searching.folder / "none")))
    assert found[0].arm == "base"
    assert sum(it.runs for it in found if it.arm.startswith("trial ")) == 2
    assert [it for it in found if it.problem.startswith("not trained: parameters")]
    assert (found[-2].arm, found[-2].runs) == ("4 more trials", 4)
    assert (found[-1].arm, found[-1].runs) == ("the front, up to 3", 6)
    assert not (searching.folder / "none").exists()
