"""Studies as one: the same task and metric, arms that differ told apart, every row with where it is from."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import get_args

import pytest

from formers.lab.store.merge import merge_studies
from formers.lab.store.records import FINAL, LengthResult, Results, Row, Status, TaskMetric

LOSS = TaskMetric(name="loss", label="loss")


def study(*rows: Row, budget: str = "10 steps", **changes: object) -> Results:
    given = Results(
        title="sort", description="Sort.", metric=LOSS, rows=rows, budget=budget, command="formers ablate sort"
    )
    return replace(given, **changes)  # type: ignore[arg-type]


def row(arm: str, seed: int = 0, width: int = 8, value: float = 1.0) -> Row:
    return Row(arm=arm, seed=seed, status="finished", config={"width": width}, metrics={"loss": value})


def names(results: Results) -> list[tuple[str, int, str]]:
    return [(row.arm, row.seed, row.environment["study"]) for row in results.rows]


def test_one_study_stays_as_it_is() -> None:
    alone = study(row("a"))
    assert merge_studies({"one": alone}) is alone


def test_the_same_arm_with_other_seeds_is_one_arm_and_a_run_in_both_comes_once() -> None:
    both = merge_studies({"x": study(row("a", 0), row("a", 1)), "y": study(row("a", 1), row("a", 2), row("b"))})
    assert names(both) == [("a", 0, "x"), ("a", 1, "x"), ("a", 2, "y"), ("b", 0, "y")]
    assert both.matched == "steps"
    assert both.budget == "10 steps"


@pytest.mark.parametrize("second", [study(row("a", width=16)), study(row("a"), budget="20 steps")])
def test_arms_that_only_share_a_name_are_named_apart(second: Results) -> None:
    both = merge_studies({"x": study(row("a")), "y": second})
    assert names(both) == [("a (x)", 0, "x"), ("a (y)", 0, "y")]


STEPS_10, STEPS_20 = {"batch_size": 2.0, "steps": 10.0}, {"batch_size": 2.0, "steps": 20.0}


def test_a_row_of_a_version_that_kept_no_budget_is_of_the_same_arm() -> None:
    old, new = study(row("a", 0)), study(replace(row("a", 1), budget=STEPS_10))
    for studies in ({"x": old, "y": new}, {"x": new, "y": old}):
        assert {arm for arm, _, _ in names(merge_studies(studies))} == {"a"}
        assert merge_studies(studies).matched == "steps"


def test_a_row_without_a_budget_makes_no_two_budgets_one() -> None:
    both = merge_studies(
        {
            "x": study(row("a", 0)),
            "y": study(replace(row("a", 1), budget=STEPS_10)),
            "z": study(replace(row("a", 2), budget=STEPS_20)),
        }
    )
    assert {arm for arm, _, _ in names(both)} == {"a (x)", "a (y)", "a (z)"}


@pytest.mark.parametrize(("matched", "arms"), [("time", ["a"]), ("parameters", ["a (x)", "a (y)"])])
def test_steps_at_equal_time_make_no_other_arm(matched: str, arms: list[str]) -> None:
    ten, twenty = (
        study(replace(row("a", seed), budget=budget), matched=matched)
        for seed, budget in enumerate((STEPS_10, STEPS_20))
    )
    both = merge_studies({"x": ten, "y": twenty})
    assert {arm for arm, _, _ in names(both)} == set(arms)
    assert both.matched == (matched if len(arms) == 1 else "nothing")


def test_different_budgets_match_nothing_and_are_all_told() -> None:
    both = merge_studies({"x": study(row("a")), "y": study(row("b"), budget="20 steps")})
    assert both.matched == "nothing"
    assert both.budget == "x: 10 steps; y: 20 steps"
    assert both.command == "formers ablate sort\nformers ablate sort"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"metric": TaskMetric(name="accuracy", label="accuracy")}, "same metric.*loss: x; accuracy: y"),
        ({"title": "sort(length=9)"}, r"same task.*sort: x; sort\(length=9\): y"),
        ({"metric": TaskMetric(name="loss", label="loss", unit="bits")}, "way to read their metric"),
    ],
)
def test_studies_that_cannot_be_compared_are_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        merge_studies({"x": study(row("a")), "y": study(row("a"), **change)})


def test_different_data_are_refused() -> None:
    with pytest.raises(ValueError, match="same data"):
        merge_studies({"x": study(replace(row("a"), data_hash="1")), "y": study(replace(row("a"), data_hash="2"))})


def chosen(arm: str, rate: float, seed: int = 0, search: bool = False, **changes: object) -> Row:
    """A run of an arm that took its rate from a list, or tried one."""
    given = Row(
        arm=arm,
        seed=seed,
        status="finished",
        config={"width": 8},
        metrics={} if search else {"loss": rate},
        validation={"loss": rate},
        budget={"learning_rate": rate, "steps": 10.0},
        options={"learning_rate": f"{rate:g}"},
        is_search=search,
        train_seconds=2.0,
        fingerprint=f"{arm} {rate} {seed} {search}",
    )
    return replace(given, **changes)  # type: ignore[arg-type]


def searched(seed: int = 1000, rates: tuple[float, ...] = (0.1, 0.3), arms: str = "ab") -> tuple[Row, ...]:
    return tuple(chosen(arm, rate, seed, search=True) for arm in arms for rate in rates)


def test_studies_with_lists_of_rates_match_what_each_of_them_does() -> None:
    x = study(chosen("a", 0.1), chosen("b", 0.3), search=searched())
    y = study(chosen("a", 0.1, 1), chosen("b", 0.3, 1), search=searched())
    both = merge_studies({"x": x, "y": y})
    assert names(both) == [("a", 0, "x"), ("b", 0, "x"), ("a", 1, "y"), ("b", 1, "y")]
    assert both.matched == "steps", "arms may have taken different rates"
    assert both.search == searched(), "a run of the search that both have is one"


def test_an_arm_that_took_another_rate_is_another_arm() -> None:
    x = study(chosen("a", 0.1), search=searched(arms="a"))
    y = study(chosen("a", 0.3), search=searched(seed=1001, arms="a"))
    both = merge_studies({"x": x, "y": y})
    assert names(both) == [("a (x)", 0, "x"), ("a (y)", 0, "y")]
    assert {row.arm for row in both.search} == {"a (x)", "a (y)"}
    assert both.matched == "steps"


def test_an_arm_is_the_same_whatever_it_chose_from() -> None:
    x = study(chosen("a", 0.1), search=searched(arms="a"), budget="10 steps, 0.1 or 0.3")
    y = study(chosen("a", 0.1, 1, options={}), budget="10 steps, 0.1")
    assert {arm for arm, _, _ in names(merge_studies({"x": x, "y": y}))} == {"a"}


def trial(number: int, study_id: str, **changes: object) -> Row:
    return chosen(f"trial {number}", 0.1 * number, 1000, search=True, search_id=study_id, **changes)


def test_trials_of_two_searches_are_named_after_their_study() -> None:
    x = study(chosen("trial 2", 0.2), search=(trial(1, "p"), trial(2, "p")), under={"parameters": 10.0})
    y = study(chosen("trial 1", 0.1), search=(trial(1, "q"),), under={"parameters": 20.0})
    both = merge_studies({"x": x, "y": y})
    assert [row.arm for row in both.rows] == ["trial 2 (x)", "trial 1 (y)"]
    assert [row.arm for row in both.search] == ["trial 1 (x)", "trial 2 (x)", "trial 1 (y)"]
    assert both.under == {"parameters": math.inf}
    alone = merge_studies({"x": x, "z": study(chosen("a", 0.1))})
    assert [row.arm for row in alone.rows] == ["trial 2", "a"]
    assert alone.under == {"parameters": 10.0}


STATUSES: tuple[Status, ...] = get_args(Status)


@pytest.mark.parametrize("search", [False, True])
@pytest.mark.parametrize("second", STATUSES)
@pytest.mark.parametrize("first", STATUSES)
def test_a_run_of_several_studies_is_the_one_that_came_furthest(first: Status, second: Status, search: bool) -> None:
    """Whatever the order of the studies: finished, or else what no start tries again, or else the first one."""

    def ended(status: Status) -> Results:
        found = chosen("a", 0.1, search=search, status=status)
        return study(chosen("b", 0.1), *(() if search else (found,)), search=(found,) if search else ())

    def merged(**studies: Results) -> Status:
        both = merge_studies(studies)
        [found] = [row for row in (both.search if search else both.rows) if row.arm == "a"]
        return found.status

    wanted = {first, second} & {"finished"} or {first, second} & {*FINAL} or {first}
    assert merged(x=ended(first), y=ended(second)) in wanted
    if wanted != {first}:
        assert merged(x=ended(second), y=ended(first)) in wanted


def test_lengths_of_a_later_study_stay_with_what_they_are() -> None:
    tested = (LengthResult(length=8, times=1.0, metrics={"loss": 1.0}),)
    x, y = study(row("a")), study(replace(row("a"), lengths=tested), row("b"), at_other_lengths="Longer lists.")
    for both in (merge_studies({"x": x, "y": y}), merge_studies({"y": y, "x": x})):
        assert both.at_other_lengths == "Longer lists."
        assert [it.lengths for it in both.rows if it.arm == "a"] == [tested]
