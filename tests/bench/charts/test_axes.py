"""Ticks on logarithmic axes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from formers.bench.charts.figures import scaling_figures
from formers.bench.results import BenchResults

MadeUp = Callable[..., BenchResults]


def test_values_that_are_close_together_or_equal_have_marks_too(made_up: MadeUp) -> None:
    bench = made_up({"softmax": lambda n: 3.1e-3, "linear": lambda n: 3.3e-3})
    alike = replace(bench, rows=tuple(replace(row, peak_bytes=4000) for row in bench.rows))
    [figure] = scaling_figures(alike)
    assert [len(chart.y_ticks) > 2 for chart in figure.charts] == [True, True]
