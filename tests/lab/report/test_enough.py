"""What a report says where a study was too short, or had too few seeds."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from formers.lab.report.confidence_interval import holm
from formers.lab.report.enough import enough_sentences
from formers.lab.report.summarize import summarize
from formers.lab.store.records import Point, Results, Row, TaskMetric

METRIC = TaskMetric(name="loss", label="loss", lower_is_better=True)


def results(ends: dict[str, tuple[float, ...]], late_gain: float = 0.0) -> Results:
    """Arms with these losses, one a seed, whose curves gain so much in their last fifth."""
    rows = [
        Row(
            arm=arm,
            seed=seed,
            status="finished",
            metrics={"loss": loss},
            curve=tuple(Point(step=s, seconds=s, values={"loss": loss + late_gain * (s < 10)}) for s in (2, 8, 10)),
        )
        for arm, losses in ends.items()
        for seed, loss in enumerate(losses)
    ]
    return Results(title="a task", description="", metric=METRIC, rows=tuple(rows))


def test_curves_that_still_fall_are_named() -> None:
    close = {"a": (1.0,), "b": (1.1,)}
    assert enough_sentences(summarize(results(close, late_gain=0.05))) == ()
    (sentence,) = enough_sentences(summarize(results(close, late_gain=0.5)))
    assert "still falls: by 0.500" in sentence
    assert "0.100 separates the first two" in sentence


def test_the_seeds_that_would_settle_a_lead_are_counted() -> None:
    (sentence,) = enough_sentences(summarize(results({"a": (1.0, 1.1), "b": (1.2, 1.4)})))
    assert "stays as it is, about 3 seeds would establish it" in sentence
    (sentence,) = enough_sentences(summarize(results({"a": (1.0, 1.5), "b": (1.01, 1.501)})))
    assert "seeds" in sentence
    assert enough_sentences(summarize(results({"a": (1.0, 1.1), "b": (2.0, 2.1)}))) == ()


def test_a_lead_of_next_to_nothing_is_none() -> None:
    (sentence,) = enough_sentences(summarize(results({"a": (1.0, 2.0), "b": (1.9, 1.101)})))
    assert "take them as equal here" in sentence


def test_one_arm_needs_no_more() -> None:
    given = results({"a": (1.0, 1.1)}, late_gain=1.0)
    assert enough_sentences(summarize(replace(given, rows=given.rows[:1]))) == ()


def test_seeds_are_enough_for_all_arms_at_once() -> None:
    """The lead is judged beside those over six more arms: as it is told, and not with a seed less."""
    noise = (0.0, 0.009, -0.009, 0.0036)
    others = {f"arm {k}": tuple(1.013 + 1e-4 * k + it for it in noise) for k in range(7)}
    summary = summarize(results({"first": (1.0,) * 4} | others))
    lead = summary.ranked[1].to_best
    assert lead is not None
    assert lead.error is not None
    assert lead.p_value is not None
    assert lead.p_value < 0.05, "alone it would be established"
    assert not lead.established
    assert lead.level == pytest.approx(1 - 0.05 / 7)
    (sentence,) = enough_sentences(summary)
    told = int(sentence.split("about ")[1].split()[0])
    for seeds in (told - 1, told):
        with_seeds = replace(lead, seeds=seeds, error=lead.error * math.sqrt(lead.seeds / seeds))
        together = holm(dict.fromkeys(others, with_seeds))
        assert together["arm 0"].established == (seeds == told)


@pytest.mark.parametrize(
    ("evaluated", "share"),
    [((50, 100), ""), ((33, 67, 100), ""), ((25, 50, 75, 100), "25 %"), ((20, 40, 60, 80, 100), "fifth")],
)
def test_the_end_of_a_training_is_as_long_as_it_was_measured(evaluated: tuple[int, ...], share: str) -> None:
    curve = tuple(Point(step=s, seconds=s, values={"loss": 2.0 - s / 100}) for s in evaluated)
    given = results({"a": (1.0,), "b": (1.01,)})
    said = enough_sentences(summarize(replace(given, rows=tuple(replace(row, curve=curve) for row in given.rows))))
    assert len(said) == bool(share)
    assert all(f"over the last {share} of its steps" in sentence for sentence in said)
