"""The report as data, and in the terminal."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from formers.lab.report import dump, from_json, load, terminal_table, to_csv, to_json, to_markdown
from formers.lab.store.records import Results

Study = Callable[[int], Results]


def with_row(results: Results, **changes: object) -> Results:
    """`results` with its first row changed."""
    return replace(results, rows=(replace(results.rows[0], **changes), *results.rows[1:]))


def shown(results: Results) -> str:
    """The terminal's table as text."""
    console = Console(width=250, file=io.StringIO(), record=True)
    console.print(terminal_table(results))
    return console.export_text()


def test_json_reads_back_exactly(study: Study, tmp_path: Path) -> None:
    results = with_row(study(3), samples=("\u2028 \ud800 </script> ü",), state_bytes_per_token=None, peak_bytes=None)
    assert load(dump(results, tmp_path / "deep" / "study.json")) == results


def test_json_is_strict_and_keeps_what_is_not_finite(study: Study) -> None:
    results = with_row(
        study(1), metrics={"val_loss": math.nan, "a": math.inf, "b": -math.inf}, flops_per_token=math.nan
    )
    text = to_json(results)
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    again = from_json(text)
    assert repr(again) == repr(results)
    assert to_json(again) == text


def test_csv_has_a_line_a_run_in_full_precision(study: Study) -> None:
    results = study(3)
    lines = list(csv.DictReader(io.StringIO(to_csv(results))))
    assert len(lines) == len(results.rows)
    assert float(lines[0]["val_loss"]) == results.rows[0].metrics["val_loss"]
    assert [line["rank"] for line in lines[:4]] == ["2", "2", "2", "4"]
    assert lines[-1]["rank"] == ""
    assert "<script>" in lines[-1]["cause"]


def test_markdown_cells_stay_cells(study: Study) -> None:
    arms = with_row(study(1), arm="a|b\n<img>")
    table = [line for line in to_markdown(arms).splitlines() if line.startswith("|")]
    assert any(r"a\|b \<img\>" in line for line in table)
    assert len({line.replace(r"\|", "").count("|") for line in table}) == 1


def test_the_terminal_shows_the_ranking_the_reference_and_the_failure(study: Study) -> None:
    text = shown(study(3))
    assert text.index("metric") < text.index("softmax") < text.index("bigram") < text.index("identity")
    assert "failed" in text
    assert "1.622 ± 0.032" in text


def test_the_terminal_reads_no_markup_and_no_escapes_in_names(study: Study) -> None:
    assert "[red]x␛[31m" in shown(with_row(study(1), arm="[red]x\x1b[31m"))
