"""Medians and their intervals."""

from __future__ import annotations

import random

import pytest

from formers.bench.statistics.interval import coverage, interval, ratios


def test_interval_takes_the_narrowest_pair_that_covers() -> None:
    nine = interval([5.0, 1.0, 9.0, 3.0, 7.0, 2.0, 8.0, 4.0, 6.0])
    assert (nine.median, nine.low, nine.high) == (5.0, 2.0, 8.0)
    assert nine.coverage == pytest.approx(1 - 2 * (1 + 9) / 2**9)


def test_interval_of_few_values_says_what_it_is_worth() -> None:
    three = interval([2.0, 1.0, 3.0])
    assert (three.low, three.high, three.coverage) == (1.0, 3.0, 0.75)
    assert interval([4.0]).coverage == 0.0
    with pytest.raises(ValueError, match="at least one"):
        interval([])


def test_interval_covers_as_often_as_it_says() -> None:
    draw = random.Random(0)
    found = [interval([draw.gauss(0, 1) ** 3 for _ in range(9)]) for _ in range(4000)]
    hit = sum(one.low <= 0 <= one.high for one in found) / len(found)
    assert hit == pytest.approx(coverage(9, 2), abs=0.012)


def test_ratios_within_rounds_cancel_what_slows_both() -> None:
    slow = [1.0, 3.0, 10.0, 2.0, 1.5, 4.0]
    found = interval(ratios([0.2 * s for s in slow], [0.5 * s for s in slow]))
    assert found.low == pytest.approx(0.4)
    assert found.high == pytest.approx(0.4)
