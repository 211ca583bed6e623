"""Sentences that claim no more than the data supports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from statistics import fmean

import pytest

from formers.lab.report.headline import headline
from formers.lab.report.summarize import summarize
from formers.lab.store.records import Results, Row, TaskMetric


def results(values: dict[str, list[float]], lower: bool = True, seconds: dict[str, float] | None = None) -> Results:
    """Arms whose seeds 0, 1, … reached these values."""
    rows = tuple(
        Row(
            arm=arm,
            seed=seed,
            status="finished",
            metrics={"m": value},
            train_seconds=(seconds or {}).get(arm, 1.0),
        )
        for arm, seeds in values.items()
        for seed, value in enumerate(seeds)
    )
    return Results(
        title="t", description="d", metric=TaskMetric(name="m", label="loss", lower_is_better=lower), rows=rows
    )


def test_higher_is_better_turns_the_ranking_round() -> None:
    summary = summarize(results({"a": [0.2], "b": [0.9]}, lower=False))
    assert [arm.name for arm in summary.ranked] == ["b", "a"]
    assert "highest" in headline(summary)[0]


def test_one_seed_separates_nothing() -> None:
    sentences = headline(summarize(results({"a": [1.0], "b": [2.0]})))
    assert any("a single seed cannot separate arms" in sentence for sentence in sentences)


def with_items(items: dict[str, list[float]], seed: int = 0) -> Results:
    """One seed an arm, with the metric of each test item."""
    some = results({arm: [fmean(values)] for arm, values in items.items()})
    return replace(some, rows=tuple(replace(row, seed=seed, items=tuple(items[row.arm])) for row in some.rows))


def test_items_that_do_not_separate_say_so() -> None:
    some = with_items({"base": [0.0, 1.0] * 20, "arm": [1.0, 0.0] * 20})
    assert "The test items do not establish a difference from any other arm." in headline(summarize(some))


Study = Callable[[int], Results]


def test_the_headline_names_what_the_seeds_leave_open(study: Study) -> None:
    sentences = headline(summarize(study(3)))
    assert sentences[0].startswith("“metric” has the lowest test loss: 1.622 ± 0.032 nats/token over 3 seeds")
    assert sentences[1] == "The seeds do not establish a difference from “softmax”; from every other arm they do."


@pytest.mark.parametrize(
    ("arm", "sentence"),
    [
        ([1.0, 1.1, 0.9], "The seeds do not establish a difference from any other arm."),
        ([3.0, 3.1, 3.2], "The seeds establish its lead over every other arm."),
    ],
)
def test_a_difference_is_claimed_only_where_there_is_one(arm: list[float], sentence: str) -> None:
    assert sentence in headline(summarize(results({"base": [1.0, 1.05, 1.0], "arm": arm})))


def test_arms_that_lose_to_a_reference_are_named() -> None:
    some = replace(results({"a": [1.0], "b": [3.0]}), references={"bigram": 2.5})
    assert "“b” does not beat bigram (2.500)." in headline(summarize(some))


def test_a_thinned_mean_is_admitted() -> None:
    sentences = headline(summarize(results({"a": [1.0, 1.1], "b": [2.0, float("nan")]})))
    assert "Some runs of “b” failed; the mean is over those that finished." in sentences


@pytest.mark.parametrize("rows", [(), (Row(arm="a", seed=0, status="diverged"),)])
def test_nothing_finished(rows: tuple[Row, ...]) -> None:
    some = replace(results({}), rows=rows)
    assert headline(summarize(some))[0] == "No arm finished with a test loss."
