"""The chart of the parts of the test split."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

from formers.lab.report.arm_looks import arm_looks
from formers.lab.report.charts.slices import slices_chart
from formers.lab.report.slices import Slices, all_slices
from formers.lab.report.summarize import summarize
from formers.lab.store.records import Results
from formers.plot.chart import Chart

Study = Callable[[int], Results]


def drawn(results: Results, index: int = 0) -> tuple[Slices, Chart | None]:
    """One way of dividing the test split, and its chart."""
    summary = summarize(results)
    slices = all_slices(summary)[index]
    return slices, slices_chart(summary, slices, "slices", arm_looks(summary))


def test_the_chart_has_a_point_for_every_label_and_leaves_gaps_where_an_arm_has_none(study: Study) -> None:
    results = study(1)
    part = {"17–32": 1.5, "65–128": float("nan")}
    rows = (replace(results.rows[0], slices={"place in the text": part}), *results.rows[1:])
    slices, chart = drawn(replace(results, rows=rows))
    assert slices.labels == ("1–16", "17–32", "33–64", "65–128")
    assert sorted(map(bool, slices.values["softmax"])) == [False, False, False, True]
    assert chart is not None
    points = {series.name: json.loads(series.hover.points_json) for series in chart.series}
    assert len(points["softmax"]) == 1
    assert len(points["linear"]) == 4


def test_labels_too_many_to_read_are_thinned(study: Study) -> None:
    results = study(1)
    many = {f"label {index}": 1.0 + index / 100 for index in range(60)}
    rows = tuple(replace(row, slices={"many": many}) for row in results.rows)
    slices, chart = drawn(replace(results, rows=rows))
    assert len(slices.labels) == 60
    assert chart is not None
    assert len(chart.x_ticks) < 8


def test_one_label_has_no_chart(study: Study) -> None:
    slices, chart = drawn(study(1), index=1)
    assert len(slices.labels) == 1
    assert chart is None
