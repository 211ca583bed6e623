"""Rings where subjects overtake the reference."""

from __future__ import annotations

from collections.abc import Callable

from formers.bench.charts.figures import scaling_figures
from formers.bench.results import BenchResults

MadeUp = Callable[..., BenchResults]


def test_a_ring_marks_the_crossover(crossing: BenchResults) -> None:
    [figure] = scaling_figures(crossing)
    time, memory = figure.charts
    [ring] = [series for series in time.series if not series.filled]
    assert ring.name == "linear"
    assert ring.label is not None
    assert ring.label.text == "700"
    x = [tick for tick, _ in time.x_ticks]
    assert x[1] < ring.mark[0] < x[2]
    assert [text for _, text in time.x_ticks] == ["256", "512", "1,024", "2,048"]
    assert [series.name for series in memory.series] == ["linear", "softmax"]


def test_rings_side_by_side_have_labels_apart(made_up: MadeUp) -> None:
    times = {"softmax": lambda n: 1e-8 * n**2, "linear": lambda n: 7e-6 * n, "performer": lambda n: 7.3e-6 * n}
    [figure] = scaling_figures(made_up(times))
    rings = [series for series in figure.charts[0].series if not series.filled]
    assert [ring.label.text for ring in rings if ring.label] == ["700", "730"]
    (left, right) = (ring.label for ring in rings)
    assert left is not None
    assert right is not None
    assert abs(left.x - right.x) > 20 or abs(left.y - right.y) > 11


def test_no_ring_where_nothing_crosses(made_up: MadeUp) -> None:
    bench = made_up({"softmax": lambda n: 1e-8 * n, "linear": lambda n: 2e-8 * n})
    [figure] = scaling_figures(bench)
    assert all(series.filled for series in figure.charts[0].series)
    assert "at no length up to 2,048" in str(figure.rows)
