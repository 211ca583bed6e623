"""Arms over seeds: ranks, differences, fronts and curves."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from statistics import fmean

import pytest

from formers.lab.report.headline import headline
from formers.lab.report.summarize import summarize
from formers.lab.store.records import Results, Row, TaskMetric

Study = Callable[[int], Results]


def test_arms_are_ranked_and_the_failed_one_is_last(study: Study) -> None:
    summary = summarize(study(3))
    assert [arm.name for arm in summary.ranked] == ["metric", "softmax", "dense, danet", "linear", "pool", "identity"]
    assert [arm.name for arm in summary.unranked] == ["performer(features=128)"]
    assert summary.base == "softmax"


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


def test_differences_are_paired_by_seed() -> None:
    summary = summarize(results({"base": [1.0, 2.0, 3.0], "arm": [1.5, 2.5, 3.5]}))
    difference = summary.arm("arm").to_base
    assert difference is not None
    assert (difference.mean, difference.half_width) == (0.5, 0.0)
    assert difference.established


def test_seeds_that_only_one_arm_finished_do_not_enter_the_difference() -> None:
    some = results({"base": [1.0, 2.0, 3.0], "arm": [1.5, 2.5, float("nan")]})
    difference = summarize(some).arm("arm").to_base
    assert difference is not None
    assert difference.seeds == 2


def test_the_front_holds_what_nothing_beats() -> None:
    some = results(
        {"slow": [1.0], "fast": [2.0], "worse": [2.5], "twin": [1.0]},
        seconds={"slow": 9, "fast": 3, "worse": 4, "twin": 9},
    )
    fronts = {arm.name for arm in summarize(some).arms if "train_seconds" in arm.fronts}
    assert fronts == {"slow", "twin", "fast"}


def with_items(items: dict[str, list[float]], seed: int = 0) -> Results:
    """One seed an arm, with the metric of each test item."""
    some = results({arm: [fmean(values)] for arm, values in items.items()})
    return replace(some, rows=tuple(replace(row, seed=seed, items=tuple(items[row.arm])) for row in some.rows))


def test_with_one_seed_the_interval_is_over_test_items() -> None:
    hard = [0.0, 1.0, 2.0, 3.0, 4.0] * 20
    nudges = [0.1, 0.3] * 50
    some = with_items({"base": hard, "arm": [value + nudge for value, nudge in zip(hard, nudges, strict=True)]})
    difference = summarize(some).arm("arm").to_base
    assert difference is not None
    assert difference.items == 100
    assert difference.mean == pytest.approx(0.2)
    # 1.984 is Student's quantile at 99 degrees of freedom; half of the differences are 0.1 below the mean, half above.
    assert difference.half_width == pytest.approx(1.98422 * 0.1 * math.sqrt(100 / 99) / 10, rel=1e-4)
    sentences = headline(summarize(some))
    assert "The test items establish its lead over every other arm." in sentences
    assert any("nothing about the training’s randomness" in sentence for sentence in sentences)


def test_items_that_are_not_the_same_ones_are_not_paired() -> None:
    difference = summarize(with_items({"base": [0.0, 1.0], "arm": [1.0, 0.0, 1.0]})).arm("arm").to_base
    assert difference is not None
    assert (difference.items, difference.half_width) == (0, None)


def test_several_seeds_outrank_test_items(study: Study) -> None:
    difference = summarize(study(3)).arm("linear").to_base
    assert difference is not None
    assert (difference.items, difference.seeds) == (0, 3)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_metric_that_is_not_finite_has_no_rank(value: float) -> None:
    summary = summarize(results({"a": [1.0], "b": [value]}))
    assert summary.arm("b").rank is None
    assert summary.arm("b").status == "no finite metric"


def test_the_curve_is_the_mean_over_seeds_where_all_of_them_are(study: Study) -> None:
    arm = summarize(study(3)).arm("linear")
    last = [row.curve[-1].values["val_loss"] for row in arm.rows]
    assert arm.curve[-1].step == 400
    assert arm.curve[-1].value == pytest.approx(sum(last) / 3)
