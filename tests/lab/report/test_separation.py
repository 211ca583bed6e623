"""What separates arms is said of each comparison: seeds, test items where one seed is shared, or nothing."""

from __future__ import annotations

import random
from dataclasses import replace

from formers.lab.report import render_html
from formers.lab.report.headline import headline
from formers.lab.report.summarize import summarize
from formers.lab.store.records import Results, Row, TaskMetric

METRIC = TaskMetric(name="m", label="loss", lower_is_better=True)


def row(arm: str, seed: int, mean: float, has_items: bool = True) -> Row:
    noise = random.Random(f"{arm} {seed}")
    items = tuple(mean + noise.gauss(0, 0.01) for _ in range(100)) if has_items else ()
    return Row(arm=arm, seed=seed, status="finished", metrics={"m": mean}, items=items)


def results(*rows: Row) -> Results:
    return Results(title="t", description="d", metric=METRIC, rows=rows)


SEEDS = tuple(row("a", seed, 1.0 + 0.01 * seed) for seed in range(3))
BY_SEEDS = tuple(row("b", seed, 2.0 + 0.02 * seed) for seed in range(3))
BY_ITEMS = row("c", 0, 3.0)
BY_NOTHING = row("d", 1, 4.0, has_items=False)
ITEMS_AFTER = "With “c” it shares one seed, and this says nothing about the training’s randomness"


def test_items_are_named_where_one_arm_alone_has_several_seeds() -> None:
    said = " ".join(headline(summarize(results(*SEEDS, BY_ITEMS))))
    assert "The test items establish its lead over “c”." in said
    assert ITEMS_AFTER in said
    assert "The seeds" not in said


def test_a_mixture_is_told_apart() -> None:
    sentences = headline(summarize(results(*SEEDS, *BY_SEEDS, BY_ITEMS, BY_NOTHING)))
    assert "The seeds establish its lead over “b”." in sentences
    assert "The test items establish its lead over “c”." in sentences
    assert any(ITEMS_AFTER in sentence for sentence in sentences)
    assert "With “d” it shares no more than one seed, which cannot separate them." in sentences


def test_what_is_left_open_is_told_apart() -> None:
    like_a = tuple(row("b", seed, 1.01 + 0.02 * (seed - 1)) for seed in range(3))
    sentences = headline(summarize(results(*SEEDS, *like_a, BY_ITEMS)))
    assert "The seeds do not establish a difference from “b”." in sentences
    assert "The test items establish its lead over “c”." in sentences


def test_better_than_the_base_is_told_with_what_shows_it() -> None:
    base = tuple(row("base", seed, 5.0 + 0.02 * seed) for seed in range(3))
    sentences = headline(summarize(results(*base, *SEEDS, *BY_SEEDS, BY_ITEMS)))
    assert "Also established by the seeds to be better than the base, “base”: “b”." in sentences
    assert "Also established by the test items to be better than the base, “base”: “c”." in sentences


def test_seeds_that_are_not_shared_separate_nothing() -> None:
    apart = tuple(replace(it, seed=it.seed + 10) for it in BY_SEEDS)
    said = " ".join(headline(summarize(results(*SEEDS, *apart))))
    assert "No other arm shares more than one seed with it, and a single seed cannot separate arms." in said
    assert "Every arm ran with one seed" not in said


def test_the_page_says_what_intervals_of_differences_are_over() -> None:
    def said(*rows: Row) -> str:
        return " ".join(render_html(results(*rows)).split())

    seeds, items = "Differences are paired by seed", "over test items (Student’s t"
    mixed = "Where an arm shares one seed with the base, a difference is over test items, not over seeds"
    for rows, wanted in (
        ((*SEEDS, *BY_SEEDS), (True, False, False)),
        ((*SEEDS, BY_ITEMS), (False, True, False)),
        ((SEEDS[0], BY_ITEMS), (False, True, False)),
        ((*SEEDS, *BY_SEEDS, BY_ITEMS), (True, False, True)),
    ):
        page = said(*rows)
        assert (seeds in page, items in page, mixed in page) == wanted
