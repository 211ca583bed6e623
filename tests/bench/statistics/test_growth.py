"""Exponents of times that are known."""

from __future__ import annotations

import math
import random

import pytest

from formers.bench.statistics.growth import growth


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
