"""Measurements as CSV."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest

from formers.bench.csv_text import to_csv
from formers.bench.results import BenchResults, Measurement


def test_csv_holds_every_row(crossing: BenchResults) -> None:
    refused = Measurement(subject="broken, 'really'", kind="mixer", status="refused", cause='a "law":\nit moved')
    bench = replace(crossing, rows=(*crossing.rows, refused))
    lines = list(csv.DictReader(io.StringIO(to_csv(bench))))
    assert len(lines) == len(bench.rows)
    first, last = lines[0], lines[-1]
    assert float(first["seconds"]) == pytest.approx(1e-8 * 256**2, rel=0.03)
    assert float(first["share_of_product"]) == pytest.approx(256e3 / (1e-8 * 256**2) / 1e11)
    assert [line["ratio"] for line in lines if line["subject"] == "softmax"] == [""] * 4
    assert float(lines[4]["ratio"]) == pytest.approx(700 / 256)
    assert (last["subject"], last["status"], last["cause"], last["seconds"]) == (
        "broken, 'really'",
        "refused",
        'a "law":\nit moved',
        "",
    )
