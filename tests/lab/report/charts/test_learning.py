"""Learning curves: single seeds stay in the frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from formers.lab.report.arm_looks import arm_looks
from formers.lab.report.charts.learning import learning_chart
from formers.lab.report.summarize import summarize
from formers.lab.store.records import Point, Results, Row

Study = Callable[[int], Results]


def test_a_seed_far_from_the_mean_is_within_the_frame(study: Study) -> None:
    results = study(3)
    rows = tuple(_shifted(row, 3.0) if (row.arm, row.seed) == ("linear", 1) else row for row in results.rows)
    summary = summarize(replace(results, rows=rows))
    chart = learning_chart(summary, arm_looks(summary), "step")
    assert chart is not None
    _, *seeds = next(series.lines for series in chart.series if series.name == "linear")
    late = [float(place.split()[1]) for line in seeds for place in line[1:].split("L")[10:]]
    assert min(late) >= chart.frame.top
    assert max(late) <= chart.frame.bottom


def _shifted(row: Row, by: float) -> Row:
    """Return a run whose metric is so much higher everywhere."""
    points = (Point(step=p.step, seconds=p.seconds, values={k: v + by for k, v in p.values.items()}) for p in row.curve)
    return replace(row, curve=tuple(points))
