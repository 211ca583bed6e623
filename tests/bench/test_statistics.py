"""Medians, exponents and crossovers of times that are known."""

from __future__ import annotations

import math
import random

import pytest

from formers.bench.crossover import crossover
from formers.bench.growth import growth
from formers.bench.interval import coverage, interval, ratios


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


@pytest.mark.parametrize("exponent", [0.0, 1.0, 1.5, 2.0])
def test_growth_finds_the_exponent(exponent: float) -> None:
    sizes = (128, 256, 512, 1024)
    found = growth(sizes, [[1e-6 * n**exponent * slow for slow in (1.0, 1.3, 0.9)] for n in sizes])
    assert found is not None
    assert found.median == pytest.approx(exponent, abs=1e-9)


def test_growth_looks_at_the_larger_half() -> None:
    sizes = (64, 128, 256, 512, 1024)
    found = growth(sizes, [[max(1.0, (n / 256) ** 2)] for n in sizes])
    assert found is not None
    assert found.median == pytest.approx(2.0)


def test_growth_interval_holds_the_truth_under_noise() -> None:
    draw, sizes = random.Random(1), (512, 1024, 2048, 4096)
    found = growth(sizes, [[n**2 * math.exp(draw.gauss(0, 0.1)) for _ in range(9)] for n in sizes])
    assert found is not None
    assert found.low < 2.0 < found.high
    assert found.high - found.low < 0.4


def test_growth_needs_two_sizes() -> None:
    assert growth((512,), [[1.0, 1.1]]) is None


def lines(sizes: tuple[int, ...], exponent: float, crossing: float, slow: tuple[float, ...]) -> list[list[float]]:
    return [[(n / crossing) ** exponent * s for s in slow] for n in sizes]


def test_crossover_is_interpolated_on_the_logarithmic_plot() -> None:
    found = crossover((256, 512, 1024, 2048), lines((256, 512, 1024, 2048), -1.0, 700.0, (1.0, 1.1, 0.9)))
    assert found is not None
    assert found.faster
    assert found.at is not None
    assert found.at.median == pytest.approx(700)
    assert found.at.low == pytest.approx(630)
    assert found.at.high == pytest.approx(770)


def test_no_crossover() -> None:
    slower = crossover((256, 512), [[1.2, 1.1], [1.3, 1.4]])
    faster = crossover((256, 512), [[0.2, 0.1], [0.3, 0.4]])
    assert slower is not None
    assert faster is not None
    assert (slower.faster, slower.at) == (False, None)
    assert (faster.faster, faster.at) == (True, None)
    assert crossover((), []) is None


def test_a_part_that_falls_behind_has_a_crossover_too() -> None:
    found = crossover((256, 512, 1024), lines((256, 512, 1024), 1.0, 512 * 2**0.5, (1.0,)))
    assert found is not None
    assert not found.faster
    assert found.at is not None
    assert found.at.median == pytest.approx(512 * 2**0.5)


def test_the_last_of_several_crossings_counts() -> None:
    found = crossover((1, 2, 4, 8), [[0.5], [2.0], [2.0], [0.5]])
    assert found is not None
    assert found.at is not None
    assert found.at.median == pytest.approx(4 * 2**0.5)


def test_rounds_that_do_not_cross_open_the_interval() -> None:
    found = crossover((256, 512), [[1.1, 1.1, 1.1], [0.9, 0.9, 1.2]])
    assert found is not None
    assert found.at is not None
    assert found.at.high == math.inf
