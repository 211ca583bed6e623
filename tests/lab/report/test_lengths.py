"""Results at other lengths, in every form of the report."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from rich.console import Console

from formers.lab.report import from_json, render_html, terminal_report, to_csv, to_json, to_markdown
from formers.lab.report.arm_looks import arm_looks
from formers.lab.report.charts.lengths import lengths_chart
from formers.lab.report.confidence_interval import estimate
from formers.lab.report.lengths import length_cells, length_table, length_titles, refusal_text
from formers.lab.report.summarize import summarize
from formers.lab.store.records import LengthResult, Results, Row

Study = Callable[[int], Results]
FACTORS = {128: 1.0, 256: 1.1, 512: 1.4}
REASONS = {
    256: "it knows 128 positions, but position 255 was asked for",
    512: "it knows 128 positions, but position 511 was asked for",
}


def result(row: Row, length: int) -> LengthResult:
    """`linear` cannot take more than it was trained at, one seed of `metric` overflows at 512."""
    refused = row.arm == "linear" and length > 128
    overflows = row.arm == "metric" and row.seed == 0 and length == 512
    if refused or overflows:
        return LengthResult(length=length, times=length / 128, cannot=REASONS[length] if refused else "val_loss is inf")
    metrics = {"val_loss": row.metrics["val_loss"] * FACTORS[length]}
    return LengthResult(length=length, times=length / 128, metrics=metrics)


def with_lengths(results: Results) -> Results:
    rows = tuple(
        replace(row, lengths=tuple(result(row, length) for length in FACTORS)) if row.status == "finished" else row
        for row in results.rows
    )
    return replace(results, rows=rows, at_other_lengths="The same plays at every length.")


def cells(results: Results) -> Mapping[str, tuple[str, ...]]:
    summary = summarize(results)
    table = length_table(summary)
    assert table
    return {arm: length_cells(table, arm, summary.digits) for arm in table.values}


def test_the_table_has_a_value_a_length_over_the_seeds(study: Study) -> None:
    results = with_lengths(study(3))
    table = length_table(summarize(results))
    assert table
    assert length_titles(table) == ("1× (128)", "2× (256)", "4× (512)")
    assert (table.lengths, table.times, table.trained) == ((128, 256, 512), (1.0, 2.0, 4.0), 128)
    softmax = [row.metrics["val_loss"] for row in results.rows if row.arm == "softmax"]
    assert table.values["softmax"] == tuple(estimate([v * f for v in softmax]) for f in FACTORS.values())
    overflowing = table.values["metric"][2]
    assert overflowing
    assert overflowing.seeds == 2  # of those that have a number
    assert [*table.values] == [arm.name for arm in summarize(results).ranked]
    assert cells(results)["linear"][1:] == ("cannot", "cannot")
    assert " ± " in cells(results)["softmax"][1]


def test_reasons_that_differ_in_numbers_only_are_one(study: Study) -> None:
    table = length_table(summarize(with_lengths(study(2))))
    assert table
    assert {refusal_text(refusal) for refusal in table.refusals} == {
        f"“linear” cannot be tested at 256 and 512 tokens: {REASONS[256]}",
        "“metric” cannot be tested at 512 tokens: val_loss is inf",
    }


def test_an_arm_that_was_not_tested_has_dashes(study: Study) -> None:
    results = with_lengths(study(1))
    rows = tuple(replace(row, lengths=()) if row.arm == "softmax" else row for row in results.rows)
    assert "softmax" not in cells(replace(results, rows=rows))
    rows = tuple(replace(row, lengths=row.lengths[:1]) if row.arm == "softmax" else row for row in results.rows)
    assert cells(replace(results, rows=rows))["softmax"][1:] == ("–", "–")


def test_no_lengths_no_table(study: Study) -> None:
    plain = study(1)
    assert length_table(summarize(plain)) is None
    assert len(terminal_report(plain)) == 1
    assert 'id="lengths"' not in render_html(plain)
    assert "val_loss_at" not in to_csv(plain)


def test_the_chart_has_bands_and_ends_where_an_arm_cannot_go_on(study: Study) -> None:
    summary = summarize(with_lengths(study(3)))
    table = length_table(summary)
    assert table
    chart = lengths_chart(summary, table, arm_looks(summary))
    assert chart
    series = {one.name: one for one in chart.series}
    assert [text for _, text in chart.x_ticks] == ["1×", "2×", "4×"]
    first, second, third = (x for x, _ in chart.x_ticks)
    assert third - second == pytest.approx(second - first, abs=0.2)  # doubling is the same way everywhere
    assert series["softmax"].band.endswith("Z")
    assert series["softmax"].hover.points[-1] == series["softmax"].mark
    assert series["softmax"].hover.texts[-1].startswith("512 tokens · ")
    assert not series["softmax"].cut
    assert series["linear"].cut
    assert len(series["linear"].hover.points) == 1
    assert series["linear"].band == ""
    assert not series["metric"].cut


def test_one_seed_has_no_band(study: Study) -> None:
    summary = summarize(with_lengths(study(1)))
    table = length_table(summary)
    assert table
    chart = lengths_chart(summary, table, arm_looks(summary))
    assert chart
    assert all(one.band == "" for one in chart.series)
    assert "Bands are" not in render_html(with_lengths(study(1)))


def test_every_form_has_the_numbers_and_the_reasons(study: Study) -> None:
    results = with_lengths(study(2))
    page, text = render_html(results), to_markdown(results)
    console = Console(record=True, width=160)
    for table in terminal_report(results):
        console.print(table)
    shown = console.export_text()
    for form in (page, text, shown):
        assert cells(results)["softmax"][2] in form
        assert "2× (256)" in form
        assert "cannot" in form
    for form in (page, text, " ".join(shown.split())):
        assert REASONS[256] in form
        assert "The same plays at every length." in form
    assert "Bands are 95 % intervals over seeds" in page
    assert from_json(to_json(results)) == results


def test_csv_has_a_column_a_length(study: Study) -> None:
    results = with_lengths(study(1))
    lines = {line["arm"]: line for line in csv.DictReader(io.StringIO(to_csv(results)))}
    assert float(lines["softmax"]["val_loss_at_256"]) == results.rows[0].metrics["val_loss"] * 1.1
    assert lines["linear"]["val_loss_at_512"] == "cannot"
    assert lines["linear"]["cannot"] == f"256: {REASONS[256]}; 512: {REASONS[512]}"
    assert lines["performer(features=128)"]["val_loss_at_256"] == ""
