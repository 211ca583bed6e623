"""Parts of the test split, and the size of a stream's state: charts and tables that leave nothing out unsaid."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from formers.lab.report.costs import STATE_SIZE
from formers.lab.report.slices import Slices, slices
from formers.lab.report.summary import summarize
from formers.lab.store.records import Results
from formers.plot.charts import Chart, trade
from formers.plot.looks import looks

Study = Callable[[int], Results]


def found(results: Results) -> list[Slices]:
    summary = summarize(results)
    return slices(summary, looks(summary))


def test_slices_are_means_over_seeds_in_the_order_given(study: Study) -> None:
    results = study(3)
    first, second = found(results)
    assert (first.title, first.labels) == ("place in the text", ("1–16", "17–32", "33–64", "65–128"))
    own = [row.slices["place in the text"]["17–32"] for row in results.rows if row.arm == "pool"]
    assert first.lines["pool"][1] is not None
    assert first.lines["pool"][1].mean == pytest.approx(sum(own) / 3)
    assert first.lines["pool"][1].half_width is not None
    assert second.chart is None
    assert "performer(features=128)" not in first.lines


def test_the_chart_has_a_point_for_every_label_and_leaves_gaps_where_an_arm_has_none(study: Study) -> None:
    results = study(1)
    part = {"17–32": 1.5, "65–128": float("nan")}
    rows = (replace(results.rows[0], slices={"place in the text": part}), *results.rows[1:])
    first = found(replace(results, rows=rows))[0]
    assert first.labels == ("1–16", "17–32", "33–64", "65–128")
    assert sorted(map(bool, first.lines["softmax"])) == [False, False, False, True]
    assert first.chart is not None
    points = {series.name: json.loads(series.places) for series in first.chart.series}
    assert len(points["softmax"]) == 1
    assert len(points["linear"]) == 4


def test_labels_too_many_to_read_are_thinned(study: Study) -> None:
    results = study(1)
    many = {f"label {index}": 1.0 + index / 100 for index in range(60)}
    rows = tuple(replace(row, slices={"many": many}) for row in results.rows)
    first = found(replace(results, rows=rows))[0]
    assert len(first.labels) == 60
    assert first.chart is not None
    assert len(first.chart.x_ticks) < 8


def test_the_state_is_drawn_for_what_streams_and_the_rest_is_said(study: Study) -> None:
    summary = summarize(study(3))
    chart = trade(summary, STATE_SIZE, looks(summary))
    assert isinstance(chart, Chart)
    assert {series.name for series in chart.series} == {"softmax", "metric", "linear", "dense, danet"}
    assert {series.name for series in chart.series if series.arrow} == {"softmax", "metric"}
    assert chart.x_label.endswith(", logarithmic")
    assert "Not streaming, so left out: “pool”." in chart.note
    assert "Without any state: “identity”." in chart.note
