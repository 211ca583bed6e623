"""Charts make room for long numbers beside their vertical axis."""

from __future__ import annotations

import pytest

from formers.plot.chart import Chart
from formers.plot.geometry import Frame

FRAME = Frame(width=480, height=300, left=52, right=466, top=12, bottom=254)


@pytest.mark.parametrize(("text", "room"), [("0.275", 0), ("0.00035", 30), ("", 0)])
def test_long_numbers_reach_beyond_the_edge(text: str, room: int) -> None:
    y_ticks = ((40.0, "1"), (80.0, text))
    chart = Chart(name="a", title="", frame=FRAME, x_label="", x_ticks=(), y_ticks=y_ticks, series=())
    assert chart.overhang == pytest.approx(room, abs=1)
