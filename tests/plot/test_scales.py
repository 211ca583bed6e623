"""Axes with round numbers."""

from __future__ import annotations

import math

import pytest

from formers.plot.scales import Scale, scale, unit_for


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (0, 100, ["0", "20", "40", "60", "80", "100"]),
        (1.45, 2.55, ["1.50", "1.75", "2.00", "2.25", "2.50"]),
        (-0.1, 0.3, ["−0.1", "0.0", "0.1", "0.2", "0.3"]),
        (0, 12, ["0.0", "2.5", "5.0", "7.5", "10.0"]),
    ],
)
def test_ticks_are_round_and_inside(low: float, high: float, texts: list[str]) -> None:
    ticks = Scale(low=low, high=high, start=0, end=1).ticks(5)
    assert [text for _, text in ticks] == texts


def test_logarithmic_ticks() -> None:
    ticks = Scale(low=1, high=100, start=0, end=2, log=True).ticks(5)
    assert (0.0, "1") in ticks
    assert (1.0, "10") in ticks


def test_one_value_alone_still_has_a_scale() -> None:
    assert scale([0.0], 0, 10)(0.0) == 5
    assert scale([2.0, 2.0], 0, 10)(2.0) == 5


def test_the_unit_suits_the_typical_value() -> None:
    units = ((1.0, "s"), (60.0, "min"))
    assert unit_for([20, 40, 70], units) == (1.0, "s")
    assert unit_for([90, 600], units) == (60.0, "min")


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("values", [(1.0, 1.7e308), (5e-324, 1.7e308), (1e308, 1.7e308), (1e-320, 2e-320)])
def test_an_axis_ends_before_floats_do(values: tuple[float, float], log: bool) -> None:
    made = scale(values, 0.0, 100.0, log=log)
    assert math.isfinite(made.low)
    assert math.isfinite(made.high)
    assert all(math.isfinite(place) for place, _ in made.ticks(5))
    assert all(0 <= made.inside(value) <= 100 for value in values)


def test_a_narrow_axis_by_logarithm_has_numbers() -> None:
    texts = [text for _, text in scale([4.15, 4.28], 0, 100, log=True).ticks(4)]
    assert len(texts) > 1
    assert all(4.1 < float(text) < 4.3 for text in texts)
    assert len(scale([1e-300], 0, 100, log=True).ticks(4)) > 1
