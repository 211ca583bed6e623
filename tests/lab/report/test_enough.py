"""What a report says where a study was too short, or had too few seeds."""

from __future__ import annotations

from dataclasses import replace

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
