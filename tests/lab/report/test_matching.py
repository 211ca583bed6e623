"""What was made equal: said with how well, and warned about where it was not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from formers.lab.report import render_html
from formers.lab.report.headline import headline
from formers.lab.report.matching import matched_sentence, unmatched_sentence, warning
from formers.lab.report.summarize import summarize
from formers.lab.report.summary import StudySummary
from formers.lab.store.records import Results, Row, TaskMetric


def study(matched: str, parameters: dict[str, int], steps: int = 10, flops: float = 2.0) -> StudySummary:
    """Arms with so many parameters; the first one is the base."""
    rows = tuple(
        Row(
            arm=arm,
            seed=0,
            status="finished",
            metrics={"m": 1.0},
            parameters=count,
            steps=steps,
            flops_per_token=flops,
            train_seconds=5.0,
            tokens_per_second=100.0,
        )
        for arm, count in parameters.items()
    )
    return summarize(
        Results(title="t", description="d", metric=TaskMetric(name="m", label="loss"), rows=rows, matched=matched)
    )


def test_the_worst_miss_is_named() -> None:
    summary = study("parameters", {"base": 1000, "a": 1003, "b": 992})
    assert matched_sentence(summary) == (
        "Matched between arms: parameters; the largest difference to the base is −0.8 % (“b”)."
    )
    assert not warning(summary)


def test_what_is_equal_is_called_exact_and_what_is_not_is_listed() -> None:
    summary = study("steps", {"base": 1000, "a": 1003, "b": 750})
    assert matched_sentence(summary) == "Matched between arms: steps, exactly."
    assert unmatched_sentence(summary) == "Not matched: parameters (up to −25.0 %, “b”)."


def test_nothing_is_listed_where_everything_is_equal() -> None:
    assert not unmatched_sentence(study("steps", {"base": 1000, "a": 1000}))


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"base": 1000, "a": 1021}, "“a” misses the base’s parameters by +2.1 %."),
        (
            {"base": 1000, "a": 1021, "b": 970},
            "2 arms miss the base’s parameters by more than 2 %, “b” by −3.0 %.",
        ),
    ],
)
def test_unequal_budgets_are_warned_about_at_the_top(parameters: dict[str, int], sentence: str) -> None:
    found = warning(study("parameters", parameters))
    assert found == f"Budgets are unequal: {sentence} Differences may come from that."
    assert found in headline(study("parameters", parameters))


def test_a_quantity_that_was_not_measured_is_not_claimed() -> None:
    assert matched_sentence(study("flops", {"base": 1, "a": 1}, flops=0.0)) == "Matched between arms: flops."


def test_the_operations_of_a_training_are_three_forward_passes_over_its_tokens() -> None:
    assert study("flops", {"base": 1}).arm("base").rows[0].training_flops == 3 * 2.0 * 500


@pytest.mark.parametrize(
    ("matched", "label", "sentence"),
    [
        ("steps", "budget of every arm", "Every arm was given 60 steps × 2 × 16 tokens."),
        ("parameters", "budget of every arm", "Every arm was given 60 steps × 2 × 16 tokens."),
        ("nothing", "budgets", "Arms were given 60 steps × 2 × 16 tokens."),
        (
            "time",
            "budget of the base",
            "The base was given 60 steps × 2 × 16 tokens; the others as many steps as take the same time.",
        ),
    ],
)
def test_a_budget_is_said_to_be_of_those_that_had_it(matched: str, label: str, sentence: str) -> None:
    def page(parameters: dict[str, int]) -> str:
        some = replace(study(matched, parameters).results, budget="60 steps × 2 × 16 tokens")
        return render_html(some)

    told = page({"base": 1, "slow": 1})
    assert f"<dt>{label}</dt><dd>60 steps × 2 × 16 tokens</dd>" in told
    assert f"<p>{sentence}" in told
    alone = page({"base": 1})
    assert "<dt>budget</dt>" in alone
    assert "<p>It was given 60 steps × 2 × 16 tokens." in alone
