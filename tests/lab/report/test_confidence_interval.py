"""Intervals over seeds: right quantiles, and no more false alarms than promised."""

from __future__ import annotations

import random

import numpy as np
import pytest

from formers.lab.report.confidence_interval import Estimate, estimate, estimate_over_items, holm, two_sided_quantile


@pytest.mark.parametrize(
    ("freedom", "level", "expected"),
    [(1, 0.95, 12.7062), (2, 0.95, 4.30265), (3, 0.95, 3.18245), (4, 0.99, 4.60409), (9, 0.95, 2.26216)],
)
def test_quantiles_are_those_of_the_tables(freedom: int, level: float, expected: float) -> None:
    assert two_sided_quantile(freedom, level) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_one_in_twenty_differences_that_are_none_is_called_one(seeds: int) -> None:
    noise = random.Random(0)
    runs = 4000
    alarms = sum(estimate([noise.gauss(0, 1) for _ in range(seeds)]).established for _ in range(runs))
    # Binomial(4000, 0.05): five standard deviations are 0.017.
    assert alarms / runs == pytest.approx(0.05, abs=0.017)


def test_one_seed_has_no_interval() -> None:
    single = estimate([1.5])
    assert (single.mean, single.half_width, single.established) == (1.5, None, False)


def test_p_values_are_those_of_the_tables() -> None:
    found = estimate([1.0, 1.1, 1.3])
    assert found.half_width == pytest.approx(0.379460, rel=1e-5)
    assert Estimate(mean=4.30265, half_width=None, seeds=3, error=1.0).p_value == pytest.approx(0.05, rel=1e-5)
    assert estimate([1.0]).p_value is None


def test_holm_goes_down_step_by_step() -> None:
    """p = 0.01, 0.02 and 0.04 are all established, where Bonferroni's 0.0167 has the first alone."""
    given = {name: of_p(p) for name, p in (("late", 0.04), ("first", 0.01), ("middle", 0.02))}
    given["alone"] = estimate([1.0])
    found = holm(given)
    assert [name for name, it in found.items() if it.established] == ["late", "first", "middle"]
    assert found["alone"] == given["alone"]
    levels = [two_sided_quantile(4, 1 - 0.05 / m) for m in (3, 2, 1)]
    assert [found[name].half_width for name in ("first", "middle", "late")] == pytest.approx(levels)


def test_holm_stops_at_the_first_that_is_not_established() -> None:
    found = holm({"first": of_p(0.01), "second": of_p(0.03), "third": of_p(0.04)})
    assert [it.established for it in found.values()] == [True, False, False]
    assert found["third"].half_width == found["second"].half_width == pytest.approx(two_sided_quantile(4, 1 - 0.05 / 2))


def test_equal_runs_are_no_difference_and_constant_ones_are() -> None:
    found = holm({"equal": estimate([0.0, 0.0]), "constant": estimate([0.5, 0.5])})
    assert [it.established for it in found.values()] == [False, True]


def of_p(p: float) -> Estimate:
    """An estimate over five seeds with an error of 1 and this p."""
    return Estimate(mean=two_sided_quantile(4, 1 - p), half_width=None, seeds=5, error=1.0)


def test_one_study_in_twenty_finds_something_where_there_is_nothing() -> None:
    noise = random.Random(0)
    runs = 2000
    alarms = 0
    for _ in range(runs):
        base = [noise.gauss(0, 1) for _ in range(3)]
        arms = {str(n): estimate([noise.gauss(0, 1) - it for it in base]) for n in range(5)}
        alarms += any(it.established for it in holm(arms).values())
    assert alarms / runs <= 0.05 + 0.024  # Binomial(2000, 0.05): five standard deviations


@pytest.mark.parametrize("kind", ["normal", "mostly equal", "skewed"])
def test_one_in_twenty_differences_between_items_that_are_none_is_called_one(kind: str) -> None:
    random = np.random.default_rng(0)
    runs, items = 4000, 400
    draws = {
        "normal": random.normal(size=(runs, items)),
        "mostly equal": random.choice([-1.0, 0.0, 1.0], p=[0.05, 0.9, 0.05], size=(runs, items)),
        "skewed": random.exponential(size=(runs, items)) - 1,
    }
    alarms = sum(estimate_over_items(own, np.zeros(items)).established for own in draws[kind])
    assert alarms / runs == pytest.approx(0.05, abs=0.017)
