"""Arms that were not given the same: said in every form of the report that ranks them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console

from formers.lab.report import from_json, render_html, terminal_table, to_csv, to_json, to_markdown
from formers.lab.report.matching import inequalities
from formers.lab.report.summarize import summarize
from formers.lab.store.merge import merge_studies
from formers.lab.store.records import Results, Row, TaskMetric

GIVEN = {"steps": 50, "batch_size": 2, "learning_rate": 0.001, "warmup": 0.1, "weight_decay": 0.1}


def row(arm: str = "a", seed: int = 0, **changes: object) -> Row:
    """A finished run of 50 steps of 20 tokens."""
    steps = int(str(changes.get("steps", 50)))
    made = Row(
        arm=arm,
        seed=seed,
        status="finished",
        metrics={"m": 1.0 + seed},
        steps=steps,
        parameters=100,
        train_seconds=10.0,
        tokens_per_second=steps * 2.0,
        budget={**GIVEN, "steps": steps},
        data_hash="data",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def study(*rows: Row, budget: str = "50 steps × 2 × 10 tokens", **changes: object) -> Results:
    metric = TaskMetric(name="m", label="loss")
    given = Results(title="t", description="d", metric=metric, rows=rows, budget=budget)
    return replace(given, **changes)  # type: ignore[arg-type]


def forms(results: Results) -> dict[str, str]:
    """Every form of the report that ranks."""
    console = Console(width=10_000, file=io.StringIO(), record=True)
    console.print(terminal_table(results))
    lines = list(csv.DictReader(io.StringIO(to_csv(results))))
    assert len({line["unequal"] for line in lines}) == 1
    return {
        "terminal": " ".join(console.export_text().split()),
        "Markdown": to_markdown(results),
        "HTML": render_html(results).partition('<section id="ranking">')[0],
        "CSV": lines[0]["unequal"],
        "JSON": " ".join(json.loads(to_json(results))["unequal"]),
    }


def said_everywhere(results: Results, words: str) -> None:
    for name, text in forms(results).items():
        assert words in text, name
    assert from_json(to_json(results)) == results


OLD = {"budget": {}}
"""A row of a version that did not keep its budget."""
LONG = study(row("b", steps=1000), budget="1000 steps × 2 × 10 tokens")


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (LONG, "Budgets are unequal: steps from 50 (“a”) to 1,000 (“b”)"),
        (replace(LONG, rows=(row("b", steps=1000, **OLD),)), "Budgets are unequal: steps from 50 (“a”) to 1,000 (“b”)"),
        (study(row("b", budget={**GIVEN, "weight_decay": 0.2})), "weight decay from 0.1 (“a”) to 0.2 (“b”)"),
        (study(row("b", budget={**GIVEN, "learning_rate": 0.01})), "learning rate from 0.001 (“a”) to 0.01 (“b”)"),
        (study(row("b", tokens_per_second=200.0, **OLD)), "tokens from 1,000 (“a”) to 2,000 (“b”)"),
        (study(row("b"), matched="parameters"), "Nothing is matched between arms"),
        (study(row("b", **OLD), budget="50 steps, learning rate 3"), "learning rate 3"),
        (study(row("b", seed=3)), "Seeds are unequal: “a” ran with seed 0, “b” with seed 3"),
    ],
)
def test_studies_that_were_given_other_amounts_are_ranked_with_a_warning(second: Results, words: str) -> None:
    said_everywhere(merge_studies({"x": study(row("a")), "y": second}), words)


def test_nothing_is_matched_also_in_parameters() -> None:
    both = merge_studies({"x": study(row("a")), "y": replace(LONG, rows=(row("b", steps=1000, parameters=300),))})
    said_everywhere(both, "Not matched: steps (up to +1900 %, “b”), parameters (up to +200 %, “b”)")
    assert "budget of every arm" not in render_html(both)


@pytest.mark.parametrize(
    ("results", "words"),
    [
        (study(row("a"), row("a", 1), row("b")), "“a” ran with seeds 0, 1, “b” with seed 0"),
        (study(row("a"), row("b", steps=40)), "“b” misses the base’s steps by"),
        (study(row("a"), row("b", data_hash="other")), "Data are unequal"),
        (study(row("a"), row("b", budget={**GIVEN, "batch_size": 4})), "batch size from 2 (“a”) to 4 (“b”)"),
    ],
)
def test_one_study_whose_arms_differ_says_so_too(results: Results, words: str) -> None:
    said_everywhere(results, words)


@pytest.mark.parametrize(
    "results",
    [
        study(row("a"), row("b")),
        study(row("a"), row("b", **OLD)),
        study(row("a")),
        study(row("a"), row("b", steps=80), matched="time"),  # equal time is a number of steps
        study(row("a"), Row(arm="b", seed=3, status="failed")),
    ],
)
def test_what_is_equal_is_not_warned_about(results: Results) -> None:
    assert inequalities(summarize(results)) == ()


def test_what_was_matched_is_said_beside_every_ranking() -> None:
    said = forms(study(row("a"), row("b", parameters=200)))
    for name in ("terminal", "Markdown", "HTML"):
        assert "Not matched: parameters (up to +100 %, “b”)." in said[name]


Changed = Callable[[Row], Row]


@pytest.mark.parametrize(
    "change",
    [
        lambda given: replace(given, budget={**GIVEN, "weight_decay": 0.2}),
        lambda given: replace(given, fingerprint="of other code"),
    ],
)
def test_one_experiment_is_not_taken_for_another(change: Changed) -> None:
    """Arms of one name whose budgets or code differ are two arms; no run is dropped."""
    first = replace(row("a"), fingerprint="f")
    both = merge_studies({"x": study(first), "y": study(change(first))})
    assert [found.arm for found in both.rows] == ["a (x)", "a (y)"]
