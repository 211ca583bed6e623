"""Sizes that would take too long are left out."""

from __future__ import annotations

from formers.bench.measuring.forecast import Forecast
from formers.bench.sizes import Sizes


def test_what_would_take_too_long_is_left_out() -> None:
    forecast = Forecast("length", patience=5.0)

    def at(length: int) -> Sizes:
        return Sizes(length=length, width=8, heads=2, batch=1)

    assert forecast.objection(at(256)) is None
    forecast.took(at(256), 0.25)
    forecast.took(at(512), 1.0)
    assert forecast.objection(at(1024)) is None
    assert forecast.objection(at(2048)) == (
        "too_slow",
        "a call would take about 16 s, more than the 5 s of patience",
    )
