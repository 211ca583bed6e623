"""Quality against costs: nothing is left out silently."""

from __future__ import annotations

from collections.abc import Callable

from formers.lab.report.arm_looks import arm_looks
from formers.lab.report.charts.trade_off import trade_off_chart
from formers.lab.report.costs import STATE_SIZE, TIME
from formers.lab.report.summarize import summarize
from formers.lab.store.records import Results
from formers.plot.chart import Chart

Study = Callable[[int], Results]


def test_the_state_is_drawn_for_what_streams_and_the_rest_is_said(study: Study) -> None:
    summary = summarize(study(3))
    chart = trade_off_chart(summary, STATE_SIZE, arm_looks(summary))
    assert isinstance(chart, Chart)
    assert {series.name for series in chart.series} == {"softmax", "metric", "linear", "dense, danet"}
    assert {series.name for series in chart.series if series.arrow} == {"softmax", "metric"}
    assert chart.x_label.endswith(", logarithmic")
    assert "Not streaming, so left out: “pool”." in chart.note
    assert "Without any state: “identity”." in chart.note


def test_an_arm_far_behind_is_at_the_edge_and_said_to_be(study: Study) -> None:
    summary = summarize(study(3))
    chart = trade_off_chart(summary, TIME, arm_looks(summary))
    assert isinstance(chart, Chart)
    assert "Beyond the frame: “identity”." in chart.note
    mark = next(series.mark for series in chart.series if series.name == "identity")
    assert mark[1] == chart.frame.top
