"""Runs as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

from formers.lab.report import to_csv
from formers.lab.store.records import Results

Study = Callable[[int], Results]


def test_csv_has_a_line_a_run_in_full_precision(study: Study) -> None:
    results = study(3)
    lines = list(csv.DictReader(io.StringIO(to_csv(results))))
    assert len(lines) == len(results.rows)
    assert float(lines[0]["val_loss"]) == results.rows[0].metrics["val_loss"]
    assert [line["rank"] for line in lines[:4]] == ["2", "2", "2", "4"]
    assert lines[-1]["rank"] == ""
    assert "<script>" in lines[-1]["cause"]
