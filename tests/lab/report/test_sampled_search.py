"""A larger search in the report: what became of its trials, the front, and what both cost; alone and merged."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from formers.lab.report.headline import headline
from formers.lab.report.html import render_html
from formers.lab.report.json_file import from_json, to_json
from formers.lab.report.markdown import to_markdown
from formers.lab.report.sampled_search import sampled_sentences, sampled_trials
from formers.lab.report.summarize import summarize
from formers.lab.store.merge import merge_studies
from formers.lab.store.records import Results, Row, Status, TaskMetric

LOSS = TaskMetric(name="loss", label="loss")


def trial(number: int, loss: float | None, parameters: int, status: Status = "finished") -> Row:
    return Row(
        arm=f"trial {number}",
        seed=1000,
        status=status,
        cause="" if loss else "not trained: too large",
        choices={"mixer": "linear"},
        options={"mixer": "linear", "learning_rate": f"{0.001 * (number + 1):g}"},
        validation={"loss": loss} if loss else {},
        parameters=parameters,
        train_seconds=2.0 if loss else 0.0,
        is_search=True,
        search_id="abc",
        fingerprint=f"{number}",
    )


def ranked(arm: str, loss: float, parameters: int, options: dict[str, str] | None = None) -> Row:
    return Row(
        arm=arm,
        seed=0,
        status="finished",
        choices={"mixer": "linear" if options else "softmax"},
        options=options or {},
        budget={"learning_rate": 0.01},
        metrics={"loss": loss},
        parameters=parameters,
        train_seconds=4.0,
        tokens_per_second=10.0,
        fingerprint=arm,
    )


@pytest.fixture
def results() -> Results:
    tried = (
        trial(0, 3.0, 100),
        trial(1, 2.0, 400),
        trial(2, None, 9000, "pruned"),
        trial(3, 2.5, 500),
        trial(4, None, 300, "diverged"),
    )
    rows = (ranked("base", 2.2, 600), ranked("trial 1", 2.1, 400, dict(tried[1].options)))
    return Results(title="t", description="d.", metric=LOSS, rows=rows, search=tried, under={"parameters": 1000.0})


def test_every_trial_is_told(results: Results) -> None:
    found = sampled_trials(summarize(results))
    assert [(it.name, it.value, it.cost, it.on_front, it.is_ranked) for it in found] == [
        ("trial 0", 3.0, 100, True, False),
        ("trial 1", 2.0, 400, True, True),
        ("trial 2", None, 9000, False, False),
        ("trial 3", 2.5, 500, False, False),
        ("trial 4", None, 300, False, False),
    ]
    assert sampled_sentences(summarize(results)) == (
        "The search: 4 trials trained with seed 1000, which ranks nothing (6.00 s, 43 % of all training), 1 beyond "
        "parameters 1 k and never trained, 1 without a result.",
        "“trial 0”, “trial 1” are on the front of validation loss against parameters: 1 of them trained again with "
        "other seeds, and ranked here.",
    )


def test_the_page_shows_trials_and_what_the_base_had(results: Results) -> None:
    page = render_html(results)
    assert 'id="front"' in page
    assert 'data-arm="trial 3"' in page
    assert "not trained: too large" in page
    assert "Chosen on validation" not in page
    text = to_markdown(results)
    line = next(line for line in text.splitlines() if "base" in line and line.startswith("| 2"))
    assert "softmax" in line
    assert "0.01" in line
    assert "The search" in headline(summarize(results))[1] or "The search" in " ".join(headline(summarize(results)))


def test_limits_read_back(results: Results) -> None:
    endless = replace(results, under={"parameters": math.inf})
    assert from_json(to_json(endless)) == endless
    assert "beyond a limit" in sampled_sentences(summarize(endless))[0]


def test_without_results_there_is_no_front(results: Results) -> None:
    none = replace(results, search=results.search[2:3])
    assert sampled_sentences(summarize(none))[1] == "No trial has a result, so there is no front."
    assert 'id="front"' in render_html(none)
    assert sampled_trials(summarize(replace(results, search=()))) == ()


def test_merged_studies_tell_seeds_that_choose_and_rank(results: Results) -> None:
    listed = tuple(replace(row, search_id="", arm="base", seed=3) for row in results.search[:2])
    other = replace(results, rows=(replace(ranked("base", 2.0, 600), seed=1000),), search=listed, under={})
    merged = merge_studies({"x": results, "y": other})
    page = render_html(merged)
    assert 'id="front"' in page
    assert 'id="search"' in page
    told = " ".join(headline(summarize(merged)))
    assert "of which 1000 ranks arms of another of the studies" in told
