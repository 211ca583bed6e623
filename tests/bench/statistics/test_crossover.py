"""Crossovers of times that are known."""

from __future__ import annotations

import math

import pytest

from formers.bench.statistics.crossover import crossover


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
