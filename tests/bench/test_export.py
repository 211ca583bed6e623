from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from formers.bench.export import dump, from_json, load, to_csv, to_json
from formers.bench.plan import Plan
from formers.bench.record import Bench, Row
from formers.bench.run import run


@pytest.mark.usefixtures("lawful")
def test_json_reads_back_equal(small: Callable[..., Plan], tmp_path: Path) -> None:
    bench = run(small("identity", "fourier", "pool", phases=("forward", "step")))
    assert from_json(to_json(bench)) == bench
    assert load(dump(bench, tmp_path / "a" / "bench.json")) == bench


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rows": [{"subject": 1}]}'])
def test_another_file_is_not_a_bench(text: str) -> None:
    with pytest.raises(ValueError, match="not a bench"):
        from_json(text)


def test_csv_holds_every_row(crossing: Bench) -> None:
    refused = Row(subject="broken, 'really'", kind="mixer", status="refused", cause='a "law":\nit moved')
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
