"""Numbers as people read them."""

from __future__ import annotations

import math

import pytest

from formers.plot.number_format import count, decimals, duration, fixed, grouped, percent, significant, size


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (count(950), "950"),
        (count(1234), "1.23 k"),
        (count(999_999), "1.00 M"),
        (count(45_600_000), "45.6 M"),
        (count(None), "–"),
        (count(math.nan), "–"),
        (size(0), "0 B"),
        (size(2048), "2 KiB"),
        (size(1536), "1.50 KiB"),
        (duration(48.21), "48.2 s"),
        (duration(725), "12 min 05 s"),
        (duration(7199.9), "120 min 00 s"),
        (duration(11_220), "3 h 07 min"),
        (fixed(-0.5, 2), "−0.50"),
        (fixed(0.5, 2, sign=True), "+0.50"),
        (fixed(-0.004, 2), "0.00"),
        (fixed(-0.004, 2, sign=True), "+0.00"),
        (fixed(math.nan, 2), "–"),
        (percent(0.031), "+3.1 %"),
        (percent(0.0), "±0 %"),
        (significant(math.nan), "–"),
        (grouped(34.9123), "34.91"),
        (grouped(14_877.4), "14,877"),
    ],
)
def test_writing(text: str, expected: str) -> None:
    assert text == expected


@pytest.mark.parametrize(("values", "places"), [([1.5, 1.6], 3), ([23.4], 2), ([0.012], 5), ([math.nan], 3), ([], 3)])
def test_four_significant_digits(values: list[float], places: int) -> None:
    assert decimals(values) == places
