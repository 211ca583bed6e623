"""Intervals over seeds: right quantiles, and no more false alarms than promised."""

from __future__ import annotations

import random

import numpy as np
import pytest

from formers.lab.report.confidence_interval import estimate, estimate_over_items, two_sided_quantile


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


def test_more_comparisons_widen_the_interval() -> None:
    one, ten = estimate([1.0, 1.1, 1.3]).half_width, estimate([1.0, 1.1, 1.3], comparisons=10).half_width
    assert one is not None
    assert ten is not None
    assert ten > 2 * one


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
